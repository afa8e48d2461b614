"""The argument parser of the command line: errors name the nearest flag."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    """The object to which a command is added."""


class Parser(argparse.ArgumentParser):
    """A parser that checks the names of flags first, because a wrong name can make another error follow."""

    def parse_known_args(  # type: ignore[override]  # argparse has overloads
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        if self._subparsers is None:
            self._check_flags(args or ())
        return super().parse_known_args(args, namespace)

    def _check_flags(self, args: Sequence[str]) -> None:
        known = [flag for flag in self._option_string_actions if flag.startswith("--")]
        for argument in args:
            if argument == "--":
                return
            name = argument.split("=", 1)[0]
            if not name.startswith("--") or name in known:
                continue
            if self.allow_abbrev and any(flag.startswith(name) for flag in known):
                continue
            close = difflib.get_close_matches(name, known, n=1)
            self.error(f"unknown flag {name}" + (f"; did you mean {close[0]}?" if close else ""))
