"""Fields without an effect on the output, such as ``padding`` without ``crop``; ``X-Ignored-Fields`` names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields as dataclass_fields

from clearcut.imaging.options import RemoveOptions

from .fields import Options, ParsedFields

_DEFAULTS = {field.name: field.default for field in dataclass_fields(RemoveOptions)}


def fields_without_effect(parsed: ParsedFields, build: Callable[[ParsedFields], RemoveOptions]) -> list[str]:
    """Return the fields that the output does not depend on.

    A field with the default value of its option is not one of them, even if the output is the same without it.

    Args:
        build: makes the options from parsed fields; called for the fields without one of them.
    """
    whole = build(parsed).effective()
    return [
        parsed.prefix + name
        for name, options in parsed.by_field.items()
        if _differs_from_default(options) and build(parsed.without(name)).effective() == whole
    ]


def _differs_from_default(options: Options) -> bool:
    return any(name not in _DEFAULTS or value != _DEFAULTS[name] for name, value in options.items())
