"""decode: turn a file that ``probe`` accepted into upright sRGB pixels.

The readers in ``formats/`` decode with the GIL released and return sRGB with alpha. This module checks the size and
applies the EXIF orientation, once for every format.
"""

from __future__ import annotations

import cv2
import numpy as np

from .formats.opencv import damaged
from .formats.registry import READERS
from .types import U8, Buffer, DecodedImage, ImageHeader


def decode(data: Buffer, header: ImageHeader, reduction: int = 1) -> DecodedImage:
    """Decode ``data`` to upright 8-bit sRGB; ``alpha`` is None if every pixel is opaque.

    Args:
        header: the result of ``probe`` for the same bytes.
        reduction: 1, or one of the reader's ``reductions``: the sides are divided by it and rounded up.

    Raises:
        CorruptImage: the file cannot be decoded, is truncated, or its size differs from the header's.
        MemoryError, cv2.error: an allocation failed.
    """
    view = memoryview(data).cast("B")
    rgb, alpha = READERS[header.format].decode(view, header, reduction)
    if rgb.shape[:2] != (-(-header.height // reduction), -(-header.width // reduction)):
        raise damaged(header)
    if alpha is not None and int(alpha.min()) == 255:
        alpha = None
    return DecodedImage(
        rgb=_upright(rgb, header.orientation),
        alpha=None if alpha is None else _upright(alpha, header.orientation),
    )


def _upright(pixels: U8, orientation: int) -> U8:
    """Undo the EXIF orientation (TIFF 6.0) of stored pixels."""
    if orientation == 2:
        return np.asarray(cv2.flip(pixels, 1), np.uint8)
    if orientation == 3:
        return np.asarray(cv2.rotate(pixels, cv2.ROTATE_180), np.uint8)
    if orientation == 4:
        return np.asarray(cv2.flip(pixels, 0), np.uint8)
    if orientation == 5:
        return np.asarray(cv2.transpose(pixels), np.uint8)
    if orientation == 6:
        return np.asarray(cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE), np.uint8)
    if orientation == 7:
        return np.asarray(cv2.flip(cv2.transpose(pixels), -1), np.uint8)
    if orientation == 8:
        return np.asarray(cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE), np.uint8)
    return pixels
