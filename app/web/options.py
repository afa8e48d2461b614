"""Text fields become ``RemoveOptions``: the grammars that the dialects share, and the Poof dialect's fields.

Every refusal names the field and what is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from app.errors import InvalidOption
from app.imaging.css_color import GRAMMAR, parse_color
from app.imaging.options import Fit, Length, Padding, RemoveOptions
from app.imaging.types import Channels, Color, OutputFormat

MAX_CANVAS = 6000
"""Pixels; the largest width or height that may be asked for (Poof's own bound)."""

SIZES: dict[str, dict[str, int]] = {
    "full": {},
    "preview": {"max_side": 256},
    "small": {"max_side": 512},
    "medium": {"max_side": 1024},
    "large": {"max_side": 2048},
    "hd": {"max_pixels": 4_000_000},
}
"""What each ``size`` caps. ``hd`` is the later clients' megapixel cap, the others keep their first meaning."""

_RATIO = re.compile(r"([1-9]\d{0,2}):([1-9]\d{0,2})")
_LENGTH = re.compile(r"(\d{1,5}(?:\.\d{1,4})?)(px|%)?")


def one_of(name: str, value: str, choices: tuple[str, ...]) -> str:
    lowered = value.lower()
    if lowered not in choices:
        raise InvalidOption(name, ", ".join(choices))
    return lowered


def color(name: str, value: str) -> Color:
    try:
        return parse_color(value)
    except ValueError:
        raise InvalidOption(name, GRAMMAR) from None


def integer(name: str, value: str, low: int, high: int) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 9 and low <= int(value) <= high):
        raise InvalidOption(name, f"a whole number of pixels from {low} to {high}")
    return int(value)


def crop(name: str, value: str) -> tuple[bool, tuple[int, int] | None]:
    """(whether to crop, ratio to grow the crop to)."""
    lowered = value.lower()
    if lowered in ("true", "false"):
        return lowered == "true", None
    if match := _RATIO.fullmatch(value):
        return True, (int(match[1]), int(match[2]))
    raise InvalidOption(name, "true, false or a ratio such as 1:1, 4:3, 16:9")


def padding(name: str, value: str) -> Padding:
    """1, 2 (vertical, horizontal) or 4 (top, right, bottom, left) lengths: ``10%``, ``0.1`` (a share) or ``30px``."""
    parts = [_length(name, part) for part in re.split(r"[,\s]+", value.strip())]
    match parts:
        case [every]:
            return Padding(every, every, every, every)
        case [vertical, horizontal]:
            return Padding(vertical, horizontal, vertical, horizontal)
        case [top, right, bottom, left]:
            return Padding(top, right, bottom, left)
    raise InvalidOption(name, _PADDING)


_PADDING = "one, two or four lengths such as 10%, 0.1 or 30px; at most 100% or 2000px a side"


def _length(name: str, text: str) -> Length:
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise InvalidOption(name, _PADDING)
    number, unit = float(match[1]), match[2]
    length = Length(number / 100 if unit == "%" else number, relative=unit != "px")
    if length.value > (1 if length.relative else 2000):
        raise InvalidOption(name, _PADDING)
    return length


def _crop_fields(name: str, value: str) -> dict[str, Any]:
    wanted, ratio = crop(name, value)
    return {"crop": wanted, "crop_ratio": ratio}


_POOF: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "format": lambda name, value: {
        "format": one_of(name, "jpg" if value.lower() == "jpeg" else value, get_args(OutputFormat))
    },
    "channels": lambda name, value: {"channels": one_of(name, value, get_args(Channels))},
    "bg_color": lambda name, value: {"background": color(name, value)},
    "size": lambda name, value: SIZES[one_of(name, value, tuple(SIZES))],
    "crop": _crop_fields,
    "padding": lambda name, value: {"padding": padding(name, value)},
    "width": lambda name, value: {"width": integer(name, value, 1, MAX_CANVAS)},
    "height": lambda name, value: {"height": integer(name, value, 1, MAX_CANVAS)},
    "fit": lambda name, value: {"fit": one_of(name, value, get_args(Fit))},
}


def poof_options(fields: Mapping[str, str]) -> tuple[RemoveOptions, list[str]]:
    """(options, names of the fields that mean nothing here).

    ``bg_color`` is checked always and used for opaque output only, as the contract has it.

    Raises:
        InvalidOption: a value is outside its grammar or range; names the field.
    """
    if "url" in fields or "image_url" in fields:
        name = "url" if "url" in fields else "image_url"
        raise InvalidOption(name, "no address; this service takes uploads only, send the image in 'image_file'")
    given: dict[str, Any] = {}
    for name, value in fields.items():
        if name in _POOF:
            given |= _POOF[name](name, value)
    options = RemoveOptions(**given)
    if not options.opaque and options.background is not None:
        given["background"] = None
        options = RemoveOptions(**given)
    return options, [name for name in fields if name not in _POOF]
