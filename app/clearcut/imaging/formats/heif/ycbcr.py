"""Conversion of decoded YCbCr planes to RGB, by the matrix coefficients of ITU-T H.273."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from clearcut.imaging.types import U8, Samples

_LUMA_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
"""(red, blue) by code of the matrix (H.273 table 4)."""
_BT601 = (0.299, 0.114)
"""Weights of codes 5 and 6, and of unknown ones, as in JPEG."""
_IDENTITY = 0
"""The planes are green, blue and red."""
_INTERPOLATION = cv2.INTER_LINEAR
"""Between chroma samples. It is closer to the original photo than the nearest sample, which libheif uses."""
_STRIP_PIXELS = 1 << 18


@dataclass(frozen=True, slots=True)
class Planes:
    """Decoded planes of one image."""

    luma: Samples
    """[H,W]"""
    chroma: tuple[Samples, Samples] | None
    """Cb and Cr; None for a gray image. Each side is that of ``luma``, or half of it, rounded up."""
    bits: int
    """Bits of a sample."""


def to_rgb(planes: Planes, matrix: int, *, full_range: bool) -> U8:
    """Convert to u8[H,W,3]. Chroma samples lie at the center of their pixels; between them they are interpolated.

    Args:
        matrix: MatrixCoefficients of H.273.
        full_range: False for samples from 16 to 235 (of 8 bits), as in video.
    """
    height, width = planes.luma.shape
    if planes.chroma is None:
        gray = to_gray(planes, full_range=full_range)
        return np.repeat(gray[:, :, None], 3, axis=2)
    out = np.empty((height, width, 3), np.uint8)
    transform = _transform(matrix, planes.bits, full_range)
    across, down = _subsampling(planes)
    chroma = planes.chroma
    if (across, down) != (1, 1):
        chroma = _upsample(chroma[0], across, down), _upsample(chroma[1], across, down)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = cv2.merge([each[top : min(top + rows, height), :width] for each in (planes.luma, *chroma)])
        out[top : top + rows] = cv2.convertScaleAbs(np.maximum(cv2.transform(strip.astype(np.float32), transform), 0))
    return out


def to_gray(planes: Planes, *, full_range: bool) -> U8:
    """Convert the luma to u8[H,W]."""
    levels = np.arange(1 << planes.bits, dtype=np.float64)
    scale, black = _range(planes.bits, full_range)
    table = np.clip(np.rint((levels - black) * scale), 0, 255).astype(np.uint8)
    return np.asarray(np.take(table, planes.luma, mode="clip"))


def _upsample(plane: Samples, across: int, down: int) -> Samples:
    return cv2.resize(  # type: ignore[return-value]  # OpenCV keeps the dtype
        plane, None, fx=across, fy=down, interpolation=_INTERPOLATION
    )


def _subsampling(planes: Planes) -> tuple[int, int]:
    """Return how many pixels share a chroma sample: (across, down)."""
    if planes.chroma is None:
        return 1, 1
    (height, width), (rows, columns) = planes.luma.shape, planes.chroma[0].shape
    return -(-width // columns), -(-height // rows)


def _range(bits: int, full_range: bool) -> tuple[float, float]:
    """Return (factor from luma to 0..255, luma of black)."""
    unit = 1 << bits - 8
    return (255 / ((1 << bits) - 1), 0) if full_range else (255 / (219 * unit), 16 * unit)


def _transform(matrix: int, bits: int, full_range: bool) -> np.ndarray:
    """Return f32[3,4] from (Y, Cb, Cr, 1) to (R, G, B) in 0..255 (H.273 section 8.3)."""
    scale, black = _range(bits, full_range)
    if matrix == _IDENTITY:
        rows = np.array([(0, 0, 1), (1, 0, 0), (0, 1, 0)]) * scale
        return np.column_stack([rows, np.full(3, -black * scale)]).astype(np.float32)
    red, blue = _LUMA_WEIGHTS.get(matrix, _BT601)
    green = 1 - red - blue
    unit = 1 << bits - 8
    chroma = scale if full_range else 255 / (224 * unit)
    from_blue, from_red = 2 * (1 - blue) * chroma, 2 * (1 - red) * chroma
    rows = np.array(
        [
            (scale, 0, from_red),
            (scale, -from_blue * blue / green, -from_red * red / green),
            (scale, from_blue, 0),
        ]
    )
    offsets = rows @ (-black, -128 * unit, -128 * unit)
    return np.column_stack([rows, offsets]).astype(np.float32)
