"""The fields of a dialect as a table: each entry has the parser of a field and its JSON schema for OpenAPI.

Each function below makes an entry from one description of choices and bounds, so parser and schema agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clearcut.errors import InvalidField

from . import parsers
from .json_body import scalar_text

Options = dict[str, Any]
"""Arguments of ``RemoveOptions``; empty for a field that is only checked."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a dialect."""

    parse: Callable[[str, str], Options]
    """(field name, text) to options; raises InvalidField."""
    schema: Mapping[str, Any]
    """JSON Schema 2020-12 of the text."""
    description: str


FieldTable = Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class ParsedFields:
    """The fields of a request, parsed with the table of its dialect."""

    by_field: dict[str, Options]
    """The options of each field. Later fields override earlier ones."""
    unknown: list[str]
    """Fields that the table does not have."""
    prefix: str = ""

    @property
    def options(self) -> Options:
        return {name: value for options in self.by_field.values() for name, value in options.items()}

    @property
    def names(self) -> dict[str, str]:
        """The field that set each option; for error bodies."""
        return {name: self.prefix + field for field, options in self.by_field.items() for name in options}

    def without(self, field: str) -> ParsedFields:
        """Return the fields without one of them."""
        return replace(self, by_field={name: each for name, each in self.by_field.items() if name != field})


def parse_fields(
    values: Mapping[str, object], table: FieldTable, *, last: Sequence[str] = (), prefix: str = ""
) -> ParsedFields:
    """Parse the fields that the table has.

    Args:
        values: texts of a form, or JSON scalars. null and the empty string are the same as an absent field.
        last: fields that override others.
        prefix: path of the fields in a JSON body; errors put it before the field's name.

    Raises:
        InvalidField: values are outside their grammar or range; names all of them.
    """
    parsed = ParsedFields({}, [name for name in values if name not in table], prefix)
    errors: list[InvalidField] = []
    for name in sorted(values, key=lambda name: name in last):
        if name not in table:
            continue
        try:
            text = scalar_text(values[name])
            if text is not None:
                parsed.by_field[name] = table[name].parse(prefix + name, text)
        except ValueError:
            errors.append(InvalidField(prefix + name, "text, a number or a boolean"))
        except InvalidField as exc:
            errors += exc.each
    raise_invalid(errors)
    return parsed


def raise_invalid(errors: Sequence[InvalidField]) -> None:
    """Raise one error that names all fields of ``errors``, each once; return if there are none."""
    unique: dict[str, InvalidField] = {}
    for error in errors:
        unique.setdefault(error.field, error)
    if unique:
        first, *others = unique.values()
        raise InvalidField(first.field, first.expected, others)


def choice(
    description: str,
    meanings: Mapping[str, Options] | Sequence[str],
    option: str | None = None,
    default: str | None = None,
    parse: Callable[[str, str], Options] | None = None,
) -> Field:
    """Make a field for one of a few words, in any case.

    Args:
        meanings: the options of each word, or the words themselves as values of ``option``.
        parse: replaces the parser of the words, for other error texts.
    """
    words = tuple(meanings)

    def parse_word(name: str, text: str) -> Options:
        word = parsers.one_of(name, text, words)
        if isinstance(meanings, Mapping):
            return dict(meanings[word])
        return {option: word} if option else {}

    return Field(parse or parse_word, _schema({"type": "string", "enum": list(words)}, default), description)


def boolean(description: str, option: str | None = None, default: bool | None = None) -> Field:
    def parse(name: str, text: str) -> Options:
        value = parsers.boolean(name, text)
        return {option: value} if option else {}

    default_text = None if default is None else str(default).lower()
    return Field(parse, _schema({"type": "string", "enum": ["true", "false"]}, default_text), description)


def integer(
    description: str, low: int, high: int, option: str | None = None, noun: str = "a whole number of pixels"
) -> Field:
    def parse(name: str, text: str) -> Options:
        value = parsers.integer(name, text, low, high, noun)
        return {option: value} if option else {}

    return Field(parse, {"type": "integer", "minimum": low, "maximum": high}, description)


def number(description: str, low: float, high: float, option: str, default: float | None = None) -> Field:
    return Field(
        lambda name, text: {option: parsers.number(name, text, low, high)},
        _schema({"type": "number", "minimum": low, "maximum": high}, default),
        description,
    )


def text(
    description: str,
    parse: Callable[[str, str], Options],
    examples: Sequence[str],
    default: str | None = None,
    **schema: Any,
) -> Field:
    """Make a field with its own grammar."""
    return Field(parse, _schema({"type": "string", "examples": list(examples), **schema}, default), description)


def unused(description: str, *examples: str) -> Field:
    """Make a field that is accepted and has no effect."""
    return text(description, lambda name, text: {}, examples)


def color(description: str, default: str | None = None) -> Field:
    return text(
        description, lambda name, text: {"background": parsers.color(name, text)}, ["#fff", "81d4fa77", "red"], default
    )


def region(description: str) -> Field:
    return text(
        description, lambda name, text: {"roi": parsers.roi(name, text)}, ["10% 0% 90% 100%", "20px 40px 600px 400px"]
    )


def scale(description: str) -> Field:
    return text(description, lambda name, text: {"scale": parsers.scale(name, text)}, ["80%"], "original")


def position(description: str) -> Field:
    return text(
        description,
        lambda name, text: {"position": parsers.position(name, text)},
        ["center", "50% 100%"],
        "original",
    )


def _schema(schema: dict[str, Any], default: str | float | None) -> dict[str, Any]:
    return schema if default is None else {**schema, "default": default}
