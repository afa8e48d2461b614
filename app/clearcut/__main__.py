"""The ``clearcut`` command: parse the arguments and run a subcommand.

Each subcommand imports its modules when it runs. A container runs its health check every few seconds, and the health
check must not load the model runtime.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys

from clearcut.cli.health import LIVE_TIMEOUT_S, check_health, local_url

from . import __version__
from .errors import StartupError

_COMMAND_MODULES = ("cut", "keys", "models", "jobs")
"""Commands with a module in ``clearcut.cli`` that defines their arguments."""


def serve() -> int:
    """Run the service until it is stopped and return the exit code.

    Raises:
        StartupError: a setting is invalid, or a start-up check failed.
    """
    import asyncio

    import uvloop

    from .environment import load_settings
    from .observability import logging
    from .observability.native_output import captured_native_output, log_line
    from .server.runner import run
    from .startup_checks import require_startable
    from .system import keep_freed_memory

    settings = load_settings()
    keep_freed_memory()
    require_startable(settings)
    logging.configure(settings.log_level)
    with captured_native_output(log_line), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(settings))


def check_live(url: str, timeout_s: float) -> int:
    """Print the health of a running server and return the exit code: 0 if it is alive.

    Args:
        url: of the server; empty selects the server with the settings of this environment.
        timeout_s: seconds.
    """
    alive, text = check_health(url or local_url(), timeout_s)
    print(text, flush=True)  # noqa: T201 - command line output
    return 0 if alive else 1


def _parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clearcut", description="Clearcut: background removal over HTTP.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="run the service until SIGTERM; CLEARCUT_* variables configure it")
    check = commands.add_parser("check", help="report what would run, and every reason why it would not")
    check.add_argument(
        "--live",
        metavar="URL",
        nargs="?",
        const="",
        help="instead check whether a running server is alive (without URL: the server with this environment)",
    )
    check.add_argument("--timeout", type=float, default=LIVE_TIMEOUT_S, metavar="S", help="for --live, seconds")
    # Each module takes part of a second to load, so only the command's own is loaded.
    for name in _COMMAND_MODULES if command not in ("serve", "check", *_COMMAND_MODULES) else (command,):
        if name in _COMMAND_MODULES:
            importlib.import_module(f"clearcut.cli.{name}").add_commands(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        argv: the arguments; None reads those of the process.
    """
    given = sys.argv[1:] if argv is None else argv
    parser = _parser(given[0] if given else "")
    if given[:1] == ["cut"]:
        from .cli.cut import normalize_arguments

        given = ["cut", *normalize_arguments(given[1:])]
    arguments = parser.parse_args(given)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has closed the pipe, like ``head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except StartupError as exc:
        prefix = "refusing to start: " if arguments.command == "serve" else ""
        print(f"clearcut: {prefix}{exc}", file=sys.stderr)  # noqa: T201 - command line output
        return 1


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command in ("keys", "models", "jobs"):
        from .cli import jobs, keys, models
        from .environment import load_settings

        runners = {"keys": keys.run, "models": models.run, "jobs": jobs.run}
        return runners[arguments.command](arguments, load_settings())
    if arguments.command == "cut":
        from .cli import cut
        from .observability.native_output import captured_native_output, print_line

        with captured_native_output(print_line):
            return cut.run(arguments)
    if arguments.command == "check":
        if arguments.live is not None:
            return check_live(arguments.live, arguments.timeout)
        from .cli import check

        return check.run()
    return serve()


if __name__ == "__main__":
    sys.exit(main())
