"""Memory of decoded images: bytes for each pixel, and how many pixels fit."""

from __future__ import annotations

from clearcut.settings import Settings

BYTES_PER_PIXEL = 29
"""Peak bytes for each input pixel, from decoded image to encoded output (``benchmarks/hostile.py``).

Measured with the most expensive inputs, large lossy WebP and CMYK JPEG with PNG output. A plain JPEG needs a third.
"""
_IMAGES_DIVISOR = 4
"""By default images use at most one part in so many of the memory limit."""


def pixel_capacity(settings: Settings, limit: int) -> int:
    """Return the maximum number of decoded pixels in memory at once.

    Args:
        settings: ``inflight_megapixels`` is used if it is not 0.
        limit: bytes of memory that the process may use.
    """
    if settings.inflight_megapixels:
        return int(settings.inflight_megapixels * 1e6)
    return max(int(settings.max_megapixels * 1e6), limit // _IMAGES_DIVISOR // BYTES_PER_PIXEL)
