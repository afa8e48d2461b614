"""``clearcut keys``: create, list and revoke API keys, and set their credits."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from clearcut.accounts.keys import QuotaPlan, Quotas, parse_key_id
from clearcut.accounts.ledger import Ledger
from clearcut.accounts.schema import open_engine
from clearcut.accounts.types import Usage
from clearcut.errors import StartupError
from clearcut.settings import Settings

from .argument_types import non_empty, whole_number
from .terminal import print_message, print_output

if TYPE_CHECKING:
    from .parser import Commands


_COUNT = whole_number(0, 999_999_999)


def add_commands(commands: Commands) -> None:
    """Add ``keys`` and its actions to the command line."""
    keys = commands.add_parser("keys", help="manage API keys and credits in CLEARCUT_DATABASE_URL")
    actions = keys.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="create a key and print it; it cannot be shown again")
    create.add_argument("name", type=non_empty, help="name of the account")
    _add_credit_options(create, required=False)
    for option, unit in (
        ("--requests-per-minute", "requests per minute"),
        ("--concurrent", "concurrent requests"),
        ("--megapixels-per-minute", "megapixels per minute"),
    ):
        help_text = f"maximum {unit}; 0: no limit; default: the service's setting"
        create.add_argument(option, type=_COUNT, metavar="N", help=help_text)
    actions.add_parser("list", help="list all keys: id, state, plan, used credits, name")
    revoke = actions.add_parser("revoke", help="revoke a key")
    revoke.add_argument("key", help="the key, its id or its name")
    set_credits = actions.add_parser("set-credits", help="set the plan and credits of a key; used credits become 0")
    set_credits.add_argument("key", help="the key, its id or its name")
    _add_credit_options(set_credits, required=True)


def _add_credit_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument("--monthly", type=_COUNT, metavar="N", help="credits for each calendar month (UTC)")
    group.add_argument("--prepaid", type=_COUNT, metavar="N", help="credits in total")
    default = "" if required else " (default)"
    group.add_argument("--unlimited", action="store_true", help=f"unlimited credits{default}")


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
            same_name = [account.id for account in ledger.find_by_name(arguments.name) if not account.revoked]
            key = ledger.create(arguments.name, plan, credits, quotas)
            print_output(key)
            print_message(_usage_text(str(parse_key_id(key)), arguments.name))
            if same_name:
                print_message(
                    f"Note: another key has the name {arguments.name} ({', '.join(same_name)}). "
                    "Use the id to revoke a key or to set its credits."
                )
            return 0
        case "list":
            for usage in ledger.list_usage():
                print_output(_line(usage))
            return 0
        case "revoke":
            key_id = _find_id(ledger, arguments.key)
            ledger.revoke(key_id)
            print_message(f"revoked: {key_id}")
        case _:
            plan, credits = _plan(arguments)
            key_id = _find_id(ledger, arguments.key)
            ledger.set_credits(key_id, plan, credits)
            print_message(f"{key_id}: {_plan_text(plan, credits)}; used credits: 0")
    return 0


def _find_id(ledger: Ledger, text: str) -> str:
    """Return the id of a key: of the key itself, its id, or the name of one account that is not revoked.

    Raises:
        StartupError: no key or several keys match.
    """
    key_id = parse_key_id(text) or text
    if ledger.find(key_id) is not None:
        return key_id
    named = [account.id for account in ledger.find_by_name(text) if not account.revoked]
    if len(named) == 1:
        return named[0]
    if named:
        raise StartupError(f"several keys have the name {text!r}; give the id of one of them: {', '.join(named)}")
    raise StartupError("key not found: expected a key, its id or the name of a valid key; see `clearcut keys list`")


def _usage_text(key_id: str, name: str) -> str:
    return (
        f"This is the key of {name} (id {key_id}). It cannot be shown again. Clients send it in the header X-API-Key:\n"
        "  export CLEARCUT_API_KEY=THE_KEY\n"
        '  curl --fail-with-body -H "X-API-Key: $CLEARCUT_API_KEY" -F image_file=@photo.jpg '
        "http://127.0.0.1:8080/v1/remove -o cutout.png"
    )


def _plan(arguments: argparse.Namespace) -> tuple[QuotaPlan, int]:
    """Return the plan and its credits."""
    if arguments.monthly is not None:
        return "monthly", arguments.monthly
    if arguments.prepaid is not None:
        return "prepaid", arguments.prepaid
    return "unlimited", 0


def _plan_text(plan: QuotaPlan, credits: int) -> str:
    match plan:
        case "monthly":
            return f"{credits} credits a month"
        case "prepaid":
            return f"{credits} prepaid credits"
        case _:
            return "unlimited credits"


def _line(usage: Usage) -> str:
    account = usage.account
    total = "" if account.plan == "unlimited" else f" of {account.credits}"
    state = "revoked" if account.revoked else "valid"
    return f"{account.id}\t{state}\t{account.plan}\t{usage.used}{total} used\t{account.name}"
