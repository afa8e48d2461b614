"""``python -m clearcut keys …``: make, list and revoke keys, and set their credits."""

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
    """Add ``keys`` and what comes after it to the command line."""
    keys = commands.add_parser("keys", help="API keys and their credits, in CLEARCUT_DATABASE_URL")
    actions = keys.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="make a key and show it, this once")
    create.add_argument("name", help="whom it is for")
    _add_credits(create)
    for option, what in (
        ("--requests-per-minute", "requests a minute"),
        ("--concurrent", "requests at once"),
        ("--megapixels-per-minute", "megapixels a minute"),
    ):
        create.add_argument(option, type=_count, metavar="N", help=f"{what}, 0: no limit; else the service's own")
    actions.add_parser("list", help="every key's id, plan and use")
    revoke = actions.add_parser("revoke", help="let a key in no more")
    revoke.add_argument("key", help="the key or its id")
    change = actions.add_parser("set-credits", help="so many credits from now on, none of them used")
    change.add_argument("key", help="the key or its id")
    _add_credits(change)


def _add_credits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--monthly", type=_count, metavar="N", help="credits for each calendar month, UTC")
    group.add_argument("--prepaid", type=_count, metavar="N", help="credits in all")
    group.add_argument("--unlimited", action="store_true", help="no end of credits (the default)")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise argparse.ArgumentTypeError("a whole number up to 999999999")
    return int(text)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Do what the command line says; the exit code.

    Raises:
        StartupError: there is no database, or it cannot be used.
    """
    if not settings.database_url:
        raise StartupError("keys need a database: set CLEARCUT_DATABASE_URL, such as sqlite:///clearcut.db")
    ledger = Ledger(open_engine(settings.database_url, 1), lease_s=0)
    try:
        return _act(arguments, ledger)
    finally:
        ledger.close()


def _act(arguments: argparse.Namespace, ledger: Ledger) -> int:
    match arguments.action:
        case "create":
            plan, credits = _credits(arguments)
            quotas = Quotas(arguments.requests_per_minute, arguments.concurrent, arguments.megapixels_per_minute)
            _say(ledger.create(arguments.name, plan, credits, quotas))
            return 0
        case "list":
            for usage in ledger.every():
                _say(_line(usage))
            return 0
        case "revoke":
            done = ledger.revoke(parse_key_id(arguments.key) or arguments.key)
        case _:
            plan, credits = _credits(arguments)
            done = ledger.set_credits(parse_key_id(arguments.key) or arguments.key, plan, credits)
    if not done:
        print("clearcut: there is no such key", file=sys.stderr)  # noqa: T201 - for the person at the console
        return 1
    return 0


def _credits(arguments: argparse.Namespace) -> tuple[QuotaPlan, int]:
    if arguments.monthly is not None:
        return "monthly", arguments.monthly
    if arguments.prepaid is not None:
        return "prepaid", arguments.prepaid
    return "unlimited", 0


def _line(usage: Usage) -> str:
    account = usage.account
    of = "" if account.plan == "unlimited" else f" of {account.credits}"
    state = "revoked" if account.revoked else "valid"
    return f"{account.id}\t{state}\t{account.plan}\t{usage.used}{of} used\t{account.name}"


def _say(line: str) -> None:
    print(line)  # noqa: T201 - for the person at the console
