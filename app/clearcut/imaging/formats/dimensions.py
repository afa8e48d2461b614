"""The size limits that every reader checks."""

from __future__ import annotations

from clearcut.errors import CorruptImage, TooManyPixels
from clearcut.imaging.types import ProbeLimits


def check_dimensions(width: int, height: int, limits: ProbeLimits) -> None:
    """Check the size in a header, before anything is allocated for it.

    Raises:
        CorruptImage: a side is zero.
        TooManyPixels: a side or the area is above its limit; the text has both numbers.
    """
    if width <= 0 or height <= 0:
        raise CorruptImage(f"The image header has a size of {width} x {height} pixels")
    if max(width, height) > limits.max_side:
        raise TooManyPixels(
            f"The image is {width} x {height} pixels; the longest side accepted is {limits.max_side} pixels "
            "(server setting CLEARCUT_MAX_SIDE)"
        )
    if width * height > limits.max_pixels:
        raise TooManyPixels(
            f"The image has {width * height / 1e6:.2f} megapixels ({width} x {height}); "
            f"the maximum is {limits.max_pixels / 1e6:g} megapixels (server setting CLEARCUT_MAX_MEGAPIXELS)"
        )
