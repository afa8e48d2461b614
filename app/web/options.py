"""The Poof dialect's fields, and ours beyond them, become ``RemoveOptions``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, get_args

from app.errors import InvalidOption
from app.imaging.options import WHITE, Fit, RemoveOptions
from app.imaging.types import Channels, OutputFormat
from app.web import grammar

MAX_CANVAS = 6000
"""Pixels; the largest width or height that may be asked for (Poof's own bound)."""
MAX_VARIANTS = 16

SIZES: dict[str, dict[str, int]] = {
    "full": {},
    "preview": {"max_side": 256},
    "small": {"max_side": 512},
    "medium": {"max_side": 1024},
    "large": {"max_side": 2048},
    "hd": {"max_pixels": 4_000_000},
}
"""What each ``size`` caps. ``hd`` is the later clients' megapixel cap, the others keep their first meaning."""

BACKGROUND_TYPES: dict[str, dict[str, Any]] = {
    "rgba": {},
    "map": {"channels": "alpha"},
    "green": {"background": (120, 255, 155, 255)},
    "white": {"background": WHITE},
    "color": {},
    "blur": {"backdrop": "blur"},
    "overlay": {"backdrop": "overlay"},
    "image": {"backdrop": "image"},
}
"""What each ``background_type`` (851-labs' names) means. All but ``rgba`` and ``map`` make the output opaque."""

Parsed = dict[str, Any]


def _crop(name: str, value: str) -> Parsed:
    wanted, ratio = grammar.crop(name, value)
    return {"crop": wanted, "crop_ratio": ratio}


def _format(name: str, value: str) -> Parsed:
    return {"format": grammar.one_of(name, "jpg" if value.lower() == "jpeg" else value, get_args(OutputFormat))}


def _shadow(name: str, value: str) -> Parsed:
    if value.lower() in ("true", "false"):
        return {"shadow": 0.5 if value.lower() == "true" else 0.0}
    return {"shadow": grammar.number(name, value, 0, 1)}


FIELDS: dict[str, Callable[[str, str], Parsed]] = {
    "format": _format,
    "channels": lambda name, value: {"channels": grammar.one_of(name, value, get_args(Channels))},
    "bg_color": lambda name, value: {"background": grammar.color(name, value)},
    "size": lambda name, value: SIZES[grammar.one_of(name, value, tuple(SIZES))],
    "crop": _crop,
    "padding": lambda name, value: {"padding": grammar.padding(name, value)},
    "crop_margin": lambda name, value: {"padding": grammar.padding(name, value)},
    "width": lambda name, value: {"width": grammar.integer(name, value, 1, MAX_CANVAS)},
    "height": lambda name, value: {"height": grammar.integer(name, value, 1, MAX_CANVAS)},
    "fit": lambda name, value: {"fit": grammar.one_of(name, value, get_args(Fit))},
    "scale": lambda name, value: {"scale": grammar.scale(name, value)},
    "position": lambda name, value: {"position": grammar.position(name, value)},
    "roi": lambda name, value: {"roi": grammar.roi(name, value)},
    "threshold": lambda name, value: {"threshold": grammar.number(name, value, 0, 1)},
    "reverse": lambda name, value: {"reverse": grammar.boolean(name, value)},
    "background_type": lambda name, value: BACKGROUND_TYPES[grammar.one_of(name, value, tuple(BACKGROUND_TYPES))],
    "shadow": _shadow,
    "despill": lambda name, value: {"despill": grammar.boolean(name, value)},
    "quality": lambda name, value: {"quality": grammar.integer(name, value, 1, 100, "a whole number")},
}


def remove_options(fields: Mapping[str, str]) -> tuple[RemoveOptions, list[str]]:
    """(options, names of the fields that mean nothing here).

    ``bg_color`` is checked always and used for opaque output only, as the contract has it.

    Raises:
        InvalidOption: a value is outside its grammar or range, or two fields exclude each other; names the field.
    """
    for name in ("url", "image_url", "bg_image_url"):
        if name in fields:
            raise InvalidOption(name, "no address; this service takes uploads only, send the image in 'image_file'")
    if "padding" in fields and "crop_margin" in fields:
        raise InvalidOption("crop_margin", "no value beside 'padding', which is the same")
    given: Parsed = {}
    # background_type comes last: it decides what the other fields' background and channels mean.
    for name in sorted(fields, key=lambda name: name == "background_type"):
        if name in FIELDS:
            given |= FIELDS[name](name, fields[name])
    kind = fields.get("background_type", "").lower()
    if kind == "color" and "bg_color" not in fields:
        raise InvalidOption("bg_color", "a colour, as background_type is color")
    opaque = kind in ("green", "white", "color", "blur", "overlay", "image")
    options = RemoveOptions(**given)
    if not (opaque or options.opaque) and options.background is not None:
        given["background"] = None
        options = RemoveOptions(**given)
    return options, [name for name in fields if name not in FIELDS and name != "variants"]


def variants(fields: Mapping[str, str]) -> tuple[list[RemoveOptions], list[str]]:
    """One set of options for each of ``variants`` (a JSON list of objects), laid over the request's other fields.

    Raises:
        InvalidOption: it is no list of 1 to 16 objects of texts, numbers and booleans, or one of them is at fault.
    """
    expected = f'a JSON list of 1 to {MAX_VARIANTS} objects of options, such as [{{}}, {{"size": "preview"}}]'
    try:
        listed = json.loads(fields["variants"])
    except (ValueError, RecursionError):
        raise InvalidOption("variants", expected) from None
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_VARIANTS:
        raise InvalidOption("variants", expected)
    common = {name: value for name, value in fields.items() if name != "variants"}
    every: list[RemoveOptions] = []
    ignored: list[str] = []
    for position, own in enumerate(listed):
        if not isinstance(own, dict) or not all(isinstance(value, str | int | float) for value in own.values()):
            raise InvalidOption("variants", expected)
        texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in own.items()}
        try:
            options, unknown = remove_options(common | {name: text for name, text in texts.items() if text})
        except InvalidOption as exc:
            raise InvalidOption(f"variants[{position}].{exc.field}", exc.expected) from None
        every.append(options)
        ignored += [name for name in unknown if name not in ignored]
    return every, ignored
