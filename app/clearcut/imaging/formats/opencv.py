"""Decoding with OpenCV: error handling, channel order and bit depth, shared by several formats."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from clearcut.errors import CorruptImage
from clearcut.imaging.types import U8, ImageHeader, Samples

from .base import Pixels

TO_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
"""Flags of ``imdecode`` for opaque 8-bit RGB. EXIF orientation is applied later, once for all formats."""
MAX_PROFILE = 4 << 20
"""Largest ICC profile that is read, in bytes; printing profiles have up to about 3 MB."""
_TO_RGB_CODES = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}


def imdecode(view: memoryview, header: ImageHeader, flags: int) -> U8:
    """Decode a file with OpenCV, which returns None for damaged files and for failed allocations alike.

    Raises:
        CorruptImage: the file cannot be decoded.
        MemoryError, cv2.error: an allocation failed.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(view, np.uint8), flags)
    except cv2.error as exc:
        if exc.code == cv2.Error.StsNoMem:
            raise
        raise damaged(header) from exc
    if pixels is None:
        raise_if_out_of_memory(header)
        raise damaged(header)
    return pixels  # type: ignore[return-value]  # u16 for a 16-bit PNG; split_alpha reduces it


def raise_if_out_of_memory(header: ImageHeader) -> None:
    """Raise MemoryError if the decoded image does not fit into memory, so that the file is not reported as damaged."""
    np.empty((header.height, header.width, 8), np.uint8)  # the largest decoded form: four 16-bit channels


def split_alpha(pixels: U8, to_srgb: Callable[[Samples], U8] | None = None) -> Pixels:
    """Split gray, BGR or BGRA pixels, u8 or u16 [H,W] or [H,W,C], into 8-bit RGB and alpha.

    Args:
        to_srgb: converts RGB of the bit depth of ``pixels`` to 8-bit sRGB; None divides 16-bit samples by 257.
    """
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    alpha = _to_eight_bits(cv2.extractChannel(pixels, 3)) if channels == 4 else None
    rgb: Samples = np.asarray(cv2.cvtColor(pixels, _TO_RGB_CODES[channels]), pixels.dtype)
    return (to_srgb(rgb) if to_srgb is not None else _to_eight_bits(rgb)), alpha


def damaged(header: ImageHeader) -> CorruptImage:
    """Return the error for a file with a valid header and undecodable pixels."""
    return CorruptImage(
        f"The image starts as {header.format.upper()} and cannot be decoded: it is damaged or incomplete"
    )


def _to_eight_bits(samples: np.ndarray) -> U8:
    """Convert u16 to u8, rounded to nearest; u8 is returned unchanged."""
    if samples.dtype == np.uint8:
        return samples
    return np.asarray(cv2.convertScaleAbs(samples, alpha=1 / 257), np.uint8)
