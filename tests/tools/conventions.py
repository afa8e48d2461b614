"""Conventions of the tests. ``python -m tests.tools.conventions`` lists violations and exits with 1 if it finds any."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
LONGEST_NAME = 59
_TEST = re.compile(r"^\s*(?:async )?def (test_\w+)", re.M)
_IMPORT = re.compile(r"^\s*(?:from|import) (tests\.(?!support\b|tools\b)[\w.]+|\.+[\w.]*)", re.M)


def long_names() -> Iterator[str]:
    """Yield ``file: name`` of tests with a name of 60 or more characters."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for name in _TEST.findall(path.read_text()):
            if len(name) > LONGEST_NAME:
                yield f"{path.relative_to(TESTS)}: {name} ({len(name)} characters)"


def imports_of_tests() -> Iterator[str]:
    """Yield ``file: module`` of imports from ``tests`` outside ``tests.support`` and ``tests.tools``."""
    for path in sorted(TESTS.rglob("*.py")):
        for module in _IMPORT.findall(path.read_text()):
            yield f"{path.relative_to(TESTS)}: {module}"


if __name__ == "__main__":
    violations = [*long_names(), *imports_of_tests()]
    print("\n".join(violations))
    sys.exit(bool(violations))
