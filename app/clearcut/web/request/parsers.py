"""Parsers of option texts that several dialects share.

Each function takes the name and the text of a field and returns the value. It raises InvalidField, which names
the field and the accepted values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from clearcut.errors import InvalidField
from clearcut.imaging.css_color import GRAMMAR, parse_color
from clearcut.imaging.options import Length, Padding, Roi
from clearcut.imaging.types import Color

_RATIO = re.compile(r"([1-9]\d{0,2}):([1-9]\d{0,2})")
RATIO_LIKE = re.compile(r"([1-9]\d{0,2}) ?[xX×*/,;-] ?([1-9]\d{0,2})", re.ASCII)
"""A ratio in another form than ``1:1``."""
_LENGTH = re.compile(r"(\d{1,5}(?:\.\d{1,4})?)(px|%)?")
_NUMBER = re.compile(r"\d{1,4}(?:\.\d{1,6})?|\.\d{1,6}")
_PADDING = "one, two or four lengths such as 10%, 0.1 or 30px; at most 100% or 2000px a side"
_ROI = (
    "four lengths, left top right bottom, such as '10% 0% 90% 100%' or '20px 40px 600px 400px', with "
    "left less than right and top less than bottom"
)
_POSITION = "original, center, one percentage such as 50%, or two, horizontal and vertical, such as '50% 100%'"


def one_of(name: str, value: str, choices: Sequence[str]) -> str:
    lowered = value.lower()
    if lowered not in choices:
        raise InvalidField(name, ", ".join(choices))
    return lowered


def boolean(name: str, value: str) -> bool:
    return one_of(name, value, ("true", "false")) == "true"


def color(name: str, value: str) -> Color:
    try:
        return parse_color(value)
    except ValueError:
        raise InvalidField(name, GRAMMAR) from None


def integer(name: str, value: str, low: int, high: int, noun: str = "a whole number of pixels") -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 9 and low <= int(value) <= high):
        raise InvalidField(name, f"{noun} from {low} to {high}")
    return int(value)


def number(name: str, value: str, low: float, high: float) -> float:
    if not (value.isascii() and _NUMBER.fullmatch(value) and low <= float(value) <= high):
        raise InvalidField(name, f"a number from {low:g} to {high:g}")
    return float(value)


def crop(name: str, value: str) -> tuple[bool, tuple[int, int] | None]:
    """Return (whether to crop, aspect ratio of the crop)."""
    lowered = value.lower()
    if lowered in ("true", "false"):
        return lowered == "true", None
    if value.isascii() and (match := _RATIO.fullmatch(value)):
        return True, (int(match[1]), int(match[2]))
    raise InvalidField(name, f"true, false or a ratio such as 1:1, 4:3, 16:9{ratio_advice(value)}")


def ratio_advice(value: str) -> str:
    """Return what to write instead of a ratio such as 1x1; empty for other values."""
    match = RATIO_LIKE.fullmatch(value)
    return f"; write {match[1]}:{match[2]} instead of {value}" if match else ""


def padding(name: str, value: str, max_share: float = 1, max_pixels: float = 2000, expected: str = _PADDING) -> Padding:
    """Parse one, two (vertical, horizontal) or four (top, right, bottom, left) lengths.

    A length is ``10%``, ``0.1`` (a share of the subject) or ``30px``.
    """
    parts = [_length(name, part, expected, max_share, max_pixels) for part in _words(value)]
    match parts:
        case [side]:
            return Padding(side, side, side, side)
        case [vertical, horizontal]:
            return Padding(vertical, horizontal, vertical, horizontal)
        case [top, right, bottom, left]:
            return Padding(top, right, bottom, left)
    raise InvalidField(name, expected)


def roi(name: str, value: str) -> Roi:
    parts = [_length(name, part, _ROI, 1, 99_999) for part in _words(value)]
    if len(parts) != 4 or _exceeds(parts[0], parts[2]) or _exceeds(parts[1], parts[3]):
        raise InvalidField(name, _ROI)
    return Roi(*parts)


def _exceeds(first: Length, second: Length) -> bool:
    """Return whether ``first`` is the longer one. Lengths in different units depend on the image."""
    return first.relative == second.relative and first.value > second.value


def position(name: str, value: str) -> tuple[float, float] | None:
    lowered = value.lower()
    if lowered == "original":
        return None
    if lowered == "center":
        return 0.5, 0.5
    parts = [percent(name, part, 0, 100, _POSITION) for part in _words(value)]
    if len(parts) not in (1, 2):
        raise InvalidField(name, _POSITION)
    return parts[0], parts[-1]


def scale(name: str, value: str) -> float | None:
    if value.lower() == "original":
        return None
    return percent(name, value, 10, 100, "original, or a percentage of the canvas from 10% to 100%")


def percent(name: str, value: str, low: float, high: float, expected: str) -> float:
    """Parse ``25%`` as 0.25; ``low`` and ``high`` are percentages."""
    digits = value.removesuffix("%")
    if digits == value or not digits.isascii() or not _NUMBER.fullmatch(digits) or not low <= float(digits) <= high:
        raise InvalidField(name, expected)
    return float(digits) / 100


def _words(value: str) -> list[str]:
    return re.split(r"[,\s]+", value.strip())


def _length(name: str, text: str, expected: str, max_share: float, max_pixels: float) -> Length:
    match = _LENGTH.fullmatch(text) if text.isascii() else None
    if match is None:
        raise InvalidField(name, expected)
    value, unit = float(match[1]), match[2]
    length = Length(value / 100 if unit == "%" else value, relative=unit != "px")
    if length.value > (max_share if length.relative else max_pixels):
        raise InvalidField(name, expected)
    return length
