"""``clearcut keys``: create, list and revoke API keys, and set their credits."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from clearcut.accounts.keys import QuotaPlan, Quotas, parse_key_id
from clearcut.accounts.ledger import Ledger
from clearcut.accounts.schema import open_engine
from clearcut.accounts.types import Usage
from clearcut.errors import StartupError
from clearcut.settings import Settings

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: Commands) -> None:
    """Add ``keys`` and its actions to the command line."""
    keys = commands.add_parser("keys", help="manage API keys and credits in CLEARCUT_DATABASE_URL")
    actions = keys.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="create a key and print it; it cannot be shown again")
    create.add_argument("name", help="name of the account")
    _add_credit_options(create)
    for option, unit in (
        ("--requests-per-minute", "requests per minute"),
        ("--concurrent", "concurrent requests"),
        ("--megapixels-per-minute", "megapixels per minute"),
    ):
        help_text = f"maximum {unit}; 0: no limit; default: the service's setting"
        create.add_argument(option, type=_count, metavar="N", help=help_text)
    actions.add_parser("list", help="list all keys: id, state, plan, used credits, name")
    revoke = actions.add_parser("revoke", help="revoke a key")
    revoke.add_argument("key", help="the key or its id")
    set_credits = actions.add_parser("set-credits", help="set the plan and credits of a key; used credits become 0")
    set_credits.add_argument("key", help="the key or its id")
    _add_credit_options(set_credits)


def _add_credit_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--monthly", type=_count, metavar="N", help="credits for each calendar month (UTC)")
    group.add_argument("--prepaid", type=_count, metavar="N", help="credits in total")
    group.add_argument("--unlimited", action="store_true", help="unlimited credits (default)")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise argparse.ArgumentTypeError("expected a whole number from 0 to 999999999")
    return int(text)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the command.

    Returns:
        The exit code.

    Raises:
        StartupError: no database is configured, or it cannot be used.
    """
    if not settings.database_url:
        raise StartupError("keys need a database: set CLEARCUT_DATABASE_URL, such as sqlite:///clearcut.db")
    ledger = Ledger(open_engine(settings.database_url, 1), lease_s=0)
    try:
        return _run_action(arguments, ledger)
    finally:
        ledger.close()


def _run_action(arguments: argparse.Namespace, ledger: Ledger) -> int:
    match arguments.action:
        case "create":
            plan, credits = _plan(arguments)
            quotas = Quotas(arguments.requests_per_minute, arguments.concurrent, arguments.megapixels_per_minute)
            _print(ledger.create(arguments.name, plan, credits, quotas))
            return 0
        case "list":
            for usage in ledger.list_usage():
                _print(_line(usage))
            return 0
        case "revoke":
            found = ledger.revoke(parse_key_id(arguments.key) or arguments.key)
        case _:
            plan, credits = _plan(arguments)
            found = ledger.set_credits(parse_key_id(arguments.key) or arguments.key, plan, credits)
    if not found:
        print("clearcut: key not found", file=sys.stderr)  # noqa: T201 - command line output
        return 1
    return 0


def _plan(arguments: argparse.Namespace) -> tuple[QuotaPlan, int]:
    """Return the plan and its credits."""
    if arguments.monthly is not None:
        return "monthly", arguments.monthly
    if arguments.prepaid is not None:
        return "prepaid", arguments.prepaid
    return "unlimited", 0


def _line(usage: Usage) -> str:
    account = usage.account
    total = "" if account.plan == "unlimited" else f" of {account.credits}"
    state = "revoked" if account.revoked else "valid"
    return f"{account.id}\t{state}\t{account.plan}\t{usage.used}{total} used\t{account.name}"


def _print(line: str) -> None:
    print(line)  # noqa: T201 - command line output
