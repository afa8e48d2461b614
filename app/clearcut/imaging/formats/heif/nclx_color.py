"""Conversion to sRGB from the code points of ITU-T H.273, as nclx boxes have them."""

from __future__ import annotations

import numpy as np

from clearcut.imaging.icc_matrix import MatrixProfile
from clearcut.imaging.types import U8

HDR_TRANSFERS = frozenset({16, 18})
"""PQ (SMPTE ST 2084) and HLG (ARIB STD-B67)."""
_CHROMATICITIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""Red, green and blue in CIE xy by code point: BT.709 and sRGB, BT.2020, Display P3. All have the white point D65."""
_WHITE = (0.3127, 0.3290)
_SRGB = 1


def to_srgb(rgb: U8, primaries: int, transfer: int) -> None:
    """Convert u8[H,W,3] in place; unknown code points count as sRGB, as in browsers.

    The transfer functions of BT.709, BT.601 and BT.2020 (1, 6, 14, 15) count as sRGB's, as in browsers. 8 is linear,
    4 and 5 are gamma 2.2 and 2.8.
    """
    if primaries not in _CHROMATICITIES:
        primaries = _SRGB
    if primaries == _SRGB and transfer not in (4, 5, 8):
        return
    level = np.linspace(0, 1, 256)
    curves = {4: level**2.2, 5: level**2.8, 8: level}
    srgb = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    linear = np.repeat(curves.get(transfer, srgb)[:, None], 3, axis=1)
    matrix = np.linalg.inv(_to_xyz(_SRGB)) @ _to_xyz(primaries)
    MatrixProfile(linear.astype(np.float32), matrix.astype(np.float32)).convert(rgb)


def _to_xyz(primaries: int) -> np.ndarray:
    """Return the matrix from linear RGB to XYZ (SMPTE RP 177-1993)."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in _CHROMATICITIES[primaries]]).T
    x, y = _WHITE
    white = np.array([x / y, 1, (1 - x - y) / y])
    return np.asarray(columns * np.linalg.solve(columns, white))
