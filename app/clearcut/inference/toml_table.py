"""Typed look-ups in a TOML document; every fault names the file and the field."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from clearcut.errors import StartupError


def read_document(path: Path, what: str) -> TomlTable:
    """The file's top-level table.

    Args:
        what: how messages call the file, such as "Model manifest".

    Raises:
        StartupError: it cannot be read or is not TOML.
    """
    try:
        return TomlTable(f"{what} {path}", "", tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as exc:
        raise StartupError(f"{what} {path} cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise StartupError(f"{what} {path} is not valid TOML: {exc}") from exc


class TomlTable:
    """One table of ``document``; ``name`` is where it stands there."""

    def __init__(self, document: str, name: str, content: object) -> None:
        self._document = document
        self._name = name
        if not isinstance(content, dict):
            raise self.fault("", "expected a table")
        self.content: dict[str, Any] = content

    def fault(self, key: str, expected: str) -> StartupError:
        return StartupError(f"{self._document}: {self._at(key)}: {expected}")

    def _at(self, key: str) -> str:
        return ".".join(filter(None, (self._name, key)))

    def table(self, key: str) -> TomlTable:
        if key not in self.content:
            raise self.fault(key, "table is missing")
        return TomlTable(self._document, self._at(key), self.content[key])

    def tables(self, key: str) -> dict[str, TomlTable]:
        """The tables within a table, by name; none when it is absent."""
        if key not in self.content:
            return {}
        inner = self.table(key)
        return {name: inner.table(name) for name in inner.content}

    def text(self, key: str, pattern: str) -> str:
        value = self.content.get(key)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise self.fault(key, f"expected text that matches {pattern}, got {value!r}")
        return value

    def maybe(self, key: str, pattern: str) -> str | None:
        """``text``, or None where the key is absent."""
        return self.text(key, pattern) if key in self.content else None

    def texts(self, key: str, pattern: str) -> tuple[str, ...]:
        """A list of texts; empty where the key is absent."""
        values = self.content.get(key, [])
        if not isinstance(values, list):
            raise self.fault(key, f"expected a list of texts, got {values!r}")
        if not values:
            return ()
        row = self.rows(key)
        return tuple(row.text(str(index), pattern) for index in range(len(values)))

    def flag(self, key: str) -> bool:
        """True or false; false where the key is absent."""
        value = self.content.get(key, False)
        if not isinstance(value, bool):
            raise self.fault(key, f"expected true or false, got {value!r}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self.content.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.fault(key, f"expected a number from {low:g} to {high:g}, got {value!r}")
        return value

    def numbers(self, key: str, count: int, low: float, high: float) -> tuple[float, ...]:
        values = self.content.get(key)
        if not isinstance(values, list) or len(values) != count:
            raise self.fault(key, f"expected {count} numbers, got {values!r}")
        row = self.rows(key)
        return tuple(float(row.number(str(index), low, high)) for index in range(count))

    def rows(self, key: str) -> TomlTable:
        """A list as a table by position."""
        return TomlTable(
            self._document, self._at(key), {str(index): row for index, row in enumerate(self.content[key])}
        )
