"""``python -m app serve``: settings, then the server."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import signal
import sys

import uvloop

from app import __version__, logs, settings
from app.access import console
from app.errors import StartupError
from app.host import keep_freed_memory
from app.server import run
from app.settings import Settings
from app.zoo import console as zoo


def serve(settings: Settings) -> int:
    """Serve until stopped; the process's exit code.

    Raises:
        StartupError: a public address without keys, unless that is allowed by name.
    """
    if not (settings.allow_anonymous or settings.database_url or _is_loopback(settings.host)):
        raise StartupError(
            f"CLEARCUT_HOST={settings.host} is reachable from other machines and no keys are configured. "
            "Set CLEARCUT_DATABASE_URL and make keys (python -m app keys create), or set CLEARCUT_ALLOW_ANONYMOUS=true "
            "to serve everyone who can reach it, or listen on 127.0.0.1"
        )
    keep_freed_memory()
    logs.configure(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(settings))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m app", description="Clearcut: background removal over HTTP.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve until SIGTERM; configured by CLEARCUT_* variables")
    console.add_commands(commands)
    zoo.add_commands(commands)
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        given = settings.load()
        if arguments.command == "keys":
            return console.run(arguments, given)
        return zoo.run(arguments, given) if arguments.command == "models" else serve(given)
    except StartupError as exc:
        prefix = "refusing to start: " if arguments.command == "serve" else ""
        print(f"clearcut: {prefix}{exc}", file=sys.stderr)  # noqa: T201 - for the person at the console
        return 1


if __name__ == "__main__":
    sys.exit(main())
