"""Colors in CSS notation (CSS Color 4).

Accepted are ``#rgb #rgba #rrggbb #rrggbbaa``, the same without ``#`` as in remove.bg's API, ``rgb()`` and ``rgba()``
with commas or spaces, ``transparent`` and the 148 named colors.
"""

from __future__ import annotations

import re

from PIL import ImageColor

from .types import Color

GRAMMAR = "a color such as #fff, #ffffff, ffffff80, rgb(255, 255, 255), rgba(0, 0, 0, 0.5) or a CSS name"

_HEX = re.compile(r"#?([0-9a-f]{3}|[0-9a-f]{4}|[0-9a-f]{6}|[0-9a-f]{8})")
_FUNCTION = re.compile(r"rgba?\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})(?:\s*[,/\s]\s*(\d*\.?\d+)(%?))?\s*\)")


def parse_color(text: str) -> Color:
    """Parse a color to straight sRGB and alpha, each 0..255.

    Raises:
        ValueError: the text does not match the grammar, or a component is out of range.
    """
    text = text.strip().lower()
    named = ImageColor.colormap.get(text)
    if named is not None:
        text = named if isinstance(named, str) else "#{:02x}{:02x}{:02x}".format(*named[:3])
    if text == "transparent":
        return 0, 0, 0, 0
    if match := _HEX.fullmatch(text):
        digits = match[1]
        if len(digits) <= 4:
            digits = "".join(digit * 2 for digit in digits)
        red, green, blue, alpha = bytes.fromhex(digits.ljust(8, "f"))
        return red, green, blue, alpha
    if match := _FUNCTION.fullmatch(text):
        red, green, blue = (int(part) for part in match.groups()[:3])
        opacity = 1.0 if match[4] is None else float(match[4]) / (100 if match[5] else 1)
        if max(red, green, blue) <= 255 and opacity <= 1:
            return red, green, blue, round(opacity * 255)
    raise ValueError(GRAMMAR)
