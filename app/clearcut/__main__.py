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

from . import __version__
from .cli.interrupts import INTERRUPTED, InterruptHandler
from .cli.parser import Parser
from .cli.terminal import print_message
from .errors import StartupError

_FILE_COMMANDS = ("cut", "watch")
_COMMAND_MODULES = (*_FILE_COMMANDS, "health", "keys", "models", "jobs")
"""Commands with a module in ``clearcut.cli`` that defines their arguments."""


def serve() -> int:
    """Run the service until it is stopped and return the exit code.

    Raises:
        StartupError: a setting is invalid, a port is in use, or a start-up check failed.
    """
    from .cli.banner import banner_printer
    from .environment import load_settings
    from .observability import logging
    from .ports import require_free_ports

    settings = load_settings()
    require_free_ports(settings)
    # Before the imports below, which take a second.
    on_listening = banner_printer(settings) if logging.on_terminal(settings.log_format) else None

    import asyncio

    from .observability.native_output import capture_native_output, log_line
    from .server.event_loop import new_event_loop
    from .server.process_exit import exit_if_threads_run
    from .server.runner import run
    from .startup_checks.checks import require_startable
    from .system import keep_freed_memory

    keep_freed_memory()
    require_startable(settings)
    logging.configure(settings.log_level, settings.log_format)
    logging.omit_caller()
    with capture_native_output(log_line), asyncio.Runner(loop_factory=new_event_loop) as runner:
        code = runner.run(run(settings, on_listening))
    exit_if_threads_run(code)
    return code


def _parser(command: str) -> argparse.ArgumentParser:
    parser = Parser(prog="clearcut", description="Remove the background of images, as a command or as an HTTP service.")
    parser.add_argument("--version", action="version", version=__version__)
    names = ("serve", "check", *_COMMAND_MODULES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{" + ",".join(names) + "}")
    commands.add_parser("serve", help="run the service until SIGTERM; CLEARCUT_* variables configure it")
    check = commands.add_parser("check", help="report what would run, and every reason why it would not")
    check.add_argument("--live", metavar="URL", nargs="?", const="", help="the former name of `clearcut health`")
    check.add_argument("--timeout", type=float, metavar="S", help="for --live, seconds")
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
    words = sys.argv[1:] if argv is None else argv
    command = words[0] if words else ""
    interrupts = InterruptHandler()
    if argv is None and command in _FILE_COMMANDS:
        interrupts.install()
    if hasattr(signal, "SIGPIPE"):  # not on Windows
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        parser = _parser(command)
        if command in _FILE_COMMANDS:
            from .cli.cut_options import normalize_arguments

            words = [command, *normalize_arguments(words[1:])]
        arguments = parser.parse_args(words)
        code = _run(arguments, interrupts)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has closed the pipe, like ``head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except StartupError as exc:
        prefix = "refusing to start: " if command == "serve" else ""
        print_message(f"clearcut: {prefix}{exc}")
        return 1


def _run(arguments: argparse.Namespace, interrupts: InterruptHandler) -> int:
    if arguments.command in ("keys", "models", "jobs"):
        from .cli import jobs, keys, models
        from .environment import load_settings

        runners = {"keys": keys.run, "models": models.run, "jobs": jobs.run}
        return runners[arguments.command](arguments, load_settings())
    if arguments.command in _FILE_COMMANDS:
        from .cli import cut, watch
        from .observability.native_output import capture_native_output, print_line
        from .system import keep_freed_memory

        keep_freed_memory()
        runner = cut.run if arguments.command == "cut" else watch.run
        with capture_native_output(print_line):
            return runner(arguments, interrupts)
    if arguments.command == "health" or (arguments.command == "check" and arguments.live is not None):
        from .cli import health

        return health.run(arguments.live, arguments.timeout)
    if arguments.command == "check":
        from .cli import check

        return check.run()
    return serve()


if __name__ == "__main__":
    sys.exit(main())
