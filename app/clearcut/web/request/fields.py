"""A dialect's fields as a table: how each is read, and the same knowledge as a JSON schema for the OpenAPI document.

The choices, bounds and grammars are written once, in the call that makes the field; nothing is described twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import parsers

Parsed = dict[str, Any]
"""Arguments of ``RemoveOptions``, or nothing for a field that is only checked."""


@dataclass(frozen=True, slots=True)
class Field:
    read: Callable[[str, str], Parsed]
    """(name, text) to arguments; raises InvalidOption."""
    schema: Mapping[str, Any]
    """Of the text, as JSON Schema 2020-12 has it."""
    about: str


Table = Mapping[str, Field]


def choice(
    about: str, meanings: Mapping[str, Parsed] | Sequence[str], option: str | None = None, default: str | None = None
) -> Field:
    """One of a few words, in any case: each with its meaning, or itself the value of ``option``."""
    words = tuple(meanings)

    def read(name: str, value: str) -> Parsed:
        word = parsers.one_of(name, value, words)
        if isinstance(meanings, Mapping):
            return dict(meanings[word])
        return {option: word} if option else {}

    return Field(read, _schema({"type": "string", "enum": list(words)}, default), about)


def boolean(about: str, option: str | None = None, default: bool | None = None) -> Field:
    def read(name: str, value: str) -> Parsed:
        given = parsers.boolean(name, value)
        return {option: given} if option else {}

    text = None if default is None else str(default).lower()
    return Field(read, _schema({"type": "string", "enum": ["true", "false"]}, text), about)


def integer(
    about: str, low: int, high: int, option: str | None = None, what: str = "a whole number of pixels"
) -> Field:
    def read(name: str, value: str) -> Parsed:
        given = parsers.integer(name, value, low, high, what)
        return {option: given} if option else {}

    return Field(read, {"type": "integer", "minimum": low, "maximum": high}, about)


def number(about: str, low: float, high: float, option: str, default: float | None = None) -> Field:
    return Field(
        lambda name, value: {option: parsers.number(name, value, low, high)},
        _schema({"type": "number", "minimum": low, "maximum": high}, default),
        about,
    )


def text(
    about: str, read: Callable[[str, str], Parsed], examples: Sequence[str], default: str | None = None, **schema: Any
) -> Field:
    """A grammar of its own: ``read`` is its reader, ``examples`` show it."""
    return Field(read, _schema({"type": "string", "examples": list(examples), **schema}, default), about)


def color(about: str, default: str | None = None) -> Field:
    return text(
        about, lambda name, value: {"background": parsers.color(name, value)}, ["#fff", "81d4fa77", "red"], default
    )


def region(about: str) -> Field:
    return text(
        about, lambda name, value: {"roi": parsers.roi(name, value)}, ["10% 0% 90% 100%", "20px 40px 600px 400px"]
    )


def scale(about: str) -> Field:
    return text(about, lambda name, value: {"scale": parsers.scale(name, value)}, ["80%"], "original")


def position(about: str) -> Field:
    return text(
        about, lambda name, value: {"position": parsers.position(name, value)}, ["center", "50% 100%"], "original"
    )


def read_fields(fields: Mapping[str, str], table: Table, last: Sequence[str] = ()) -> tuple[Parsed, list[str]]:
    """(what the fields of the table say together, names of the other fields); those in ``last`` have the last word.

    Raises:
        InvalidOption: a value is outside its grammar or range.
    """
    given: Parsed = {}
    for name in sorted(fields, key=lambda name: name in last):
        if name in table:
            given |= table[name].read(name, fields[name])
    return given, [name for name in fields if name not in table]


def _schema(schema: dict[str, Any], default: str | float | None) -> dict[str, Any]:
    return schema if default is None else {**schema, "default": default}
