"""Fields without an effect on the output, such as ``padding`` without ``crop``; ``X-Ignored-Fields`` names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields as dataclass_fields
from types import MappingProxyType
from typing import Any

from clearcut.imaging.options import RemoveOptions

from .fields import Options, ParsedFields

NO_DEFAULTS: Mapping[str, Any] = MappingProxyType({})
_DEFAULTS = {field.name: field.default for field in dataclass_fields(RemoveOptions)}


def fields_without_effect(
    parsed: ParsedFields, build: Callable[[ParsedFields], RemoveOptions], defaults: Mapping[str, Any] = NO_DEFAULTS
) -> list[str]:
    """Return the fields that the output does not depend on.

    A field with the default value of its option is not one of them, even if the output is the same without it.

    Args:
        build: makes the options from parsed fields; called for the fields without one of them.
        defaults: options that ``build`` uses if no field sets them, where they differ from those of ``RemoveOptions``.
    """
    usual = {**_DEFAULTS, **defaults}
    changing = [name for name, options in parsed.by_field.items() if _differ(options, usual)]
    if not changing:
        return []
    whole = build(parsed).effective()
    return [parsed.prefix + name for name in changing if build(parsed.without(name)).effective() == whole]


def _differ(options: Options, usual: Mapping[str, Any]) -> bool:
    return any(name not in usual or value != usual[name] for name, value in options.items())
