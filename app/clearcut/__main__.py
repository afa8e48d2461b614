"""``python -m clearcut serve``: settings, then the server. ``check``, ``keys``, ``models``: see their modules.

What a command needs is imported when it is asked for: a container's health check runs every few seconds and should not
load a neural network's runtime for it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from clearcut.cli.health import LIVE_TIMEOUT_S, check_health, own_url

from . import __version__
from .errors import StartupError


def serve() -> int:
    """Serve until stopped; the process's exit code.

    Raises:
        StartupError: the settings are at fault, or a public address without keys, unless that is allowed by name.
    """
    import asyncio

    import uvloop

    from clearcut.cli.check import public_without_keys
    from clearcut.server.runner import run

    from . import settings
    from .observability import logging
    from .system import keep_freed_memory

    given = settings.load()
    if (fault := public_without_keys(given)) is not None:
        raise StartupError(fault)
    keep_freed_memory()
    logging.configure(given.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(given))


def check() -> int:
    """Say what would run and what would not; 1 if anything is at fault."""
    from clearcut.cli.check import run_checks

    faults = 0
    for finding in run_checks():
        _say(str(finding))
        faults += finding.verdict == "FAULT"
    _say(f"{faults} fault(s): the service would not start" if faults else "ready to serve")
    return 1 if faults else 0


def check_live(url: str, timeout_s: float) -> int:
    """0 if the server at ``url``, or else the one with this environment, is alive."""
    alive, text = check_health(url or own_url(), timeout_s)
    _say(text)
    return 0 if alive else 1


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - for the person at the console


def _parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m clearcut", description="Clearcut: background removal over HTTP.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve until SIGTERM; configured by CLEARCUT_* variables")
    checking = commands.add_parser("check", help="say what would run, and every reason why it would not")
    checking.add_argument(
        "--live",
        metavar="URL",
        nargs="?",
        const="",
        help="instead ask a running server whether it is alive (without URL: the one with this environment)",
    )
    checking.add_argument("--timeout", type=float, default=LIVE_TIMEOUT_S, metavar="S", help="for --live, seconds")
    if command != "check":
        from .cli import jobs as jobs
        from .cli import keys
        from .cli import models as zoo

        keys.add_commands(commands)
        zoo.add_commands(commands)
        jobs.add_commands(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    given = sys.argv[1:] if argv is None else argv
    arguments = _parser(given[0] if given else "").parse_args(given)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        code = _do(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever was reading has seen enough, as ``head`` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except StartupError as exc:
        prefix = "refusing to start: " if arguments.command == "serve" else ""
        print(f"clearcut: {prefix}{exc}", file=sys.stderr)  # noqa: T201 - for the person at the console
        return 1


def _do(arguments: argparse.Namespace) -> int:
    if arguments.command in ("keys", "models", "jobs"):
        from . import settings
        from .cli import jobs as jobs
        from .cli import keys
        from .cli import models as zoo

        rooms = {"keys": keys.run, "models": zoo.run, "jobs": jobs.run}
        return rooms[arguments.command](arguments, settings.load())
    if arguments.command == "check":
        return check() if arguments.live is None else check_live(arguments.live, arguments.timeout)
    return serve()


if __name__ == "__main__":
    sys.exit(main())
