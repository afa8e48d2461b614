"""Fields without an effect on the output, such as ``padding`` without ``crop``; ``X-Ignored-Fields`` names them.

``fields_without_effect`` compares the options of a request with each other, and ``options_without_effect`` with the
inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields as dataclass_fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from clearcut.imaging.options import RemoveOptions

from .fields import Options, ParsedFields

if TYPE_CHECKING:  # the command imports the option table, and must not load the image code
    from clearcut.cutout_types import CutoutRequest, CutoutResult

NO_DEFAULTS: Mapping[str, Any] = MappingProxyType({})
_DEFAULTS = {field.name: field.default for field in dataclass_fields(RemoveOptions)}


def fields_without_effect(
    parsed: ParsedFields, build: Callable[[ParsedFields], RemoveOptions], defaults: Mapping[str, Any] = NO_DEFAULTS
) -> list[str]:
    """Return the fields that the output does not depend on.

    A field with the default value of its option is not one of them, even if the output is the same without it. Of
    fields that have the same effect, the last one is not one of them.

    Args:
        build: makes the options from parsed fields; called for the fields without one of them.
        defaults: options that ``build`` uses if no field sets them, where they differ from those of ``RemoveOptions``.
    """
    usual = {**_DEFAULTS, **defaults}
    changing = [name for name, options in parsed.by_field.items() if _differ(options, usual)]
    if not changing:
        return []
    whole = build(parsed).effective()
    unused = []
    for name in changing:
        fewer = parsed.without(name)
        if build(fewer).effective() == whole:
            unused.append(parsed.prefix + name)
            parsed = fewer
    return unused


def options_without_effect(request: CutoutRequest, result: CutoutResult) -> list[str]:
    """Return the options that the outputs do not depend on because of the inputs.

    Without a model run, these are the model and its refinement. The alpha of an opaque input has no use.
    """
    variants = request.variants
    unused = []
    if result.model is None:
        if request.model is not None:
            unused.append("model")
        if not all(options.plain_background for options in variants):
            unused.append("plain_background")
        if request.mask is None and not all(options.despill for options in variants):
            unused.append("despill")  # the colors of a transparent input are straight already
    input_alpha = variants[0].input_alpha  # equal in all variants
    if input_alpha != "auto" and result.opaque_input:
        unused.append("input_alpha")
    elif input_alpha == "keep" and request.mask is not None:
        unused.append("input_alpha")  # with a mask, it means the same as "auto"
    return unused


def _differ(options: Options, usual: Mapping[str, Any]) -> bool:
    return any(name not in usual or value != usual[name] for name, value in options.items())
