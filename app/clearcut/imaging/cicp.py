"""Color spaces by coding-independent code points (ITU-T H.273), as in the cICP chunk of PNG, converted to sRGB.

HDR images are converted without tone mapping: the reference white of 203 cd/m2 (ITU-R BT.2408) becomes white, and
brighter parts are clipped. HLG is shown with a system gamma of 1.2, for a display of 1000 cd/m2 (ITU-R BT.2100).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .icc_matrix import STEPS, STRIP_BYTES, TO_SRGB, srgb_curve
from .types import F32, U8, Samples

_D65, _C = (0.3127, 0.3290), (0.310, 0.316)
_PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),  # BT.709, sRGB
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),  # BT.470 M
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),  # BT.470 BG, BT.601 625
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),  # SMPTE 170M
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),  # SMPTE 240M
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),  # BT.2020, BT.2100
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),  # DCI P3
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),  # Display P3
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),  # EBU 3213
}
"""Chromaticities x, y of red, green, blue and white by code (H.273 table 2)."""
_UNIT = 65_536
"""ICC profiles store numbers in units of 1/65536. The same rounding here makes a cICP chunk and a profile of the same
color space give equal pixels."""
_D50_XYZ = np.array((63_190, _UNIT, 54_061)) / _UNIT
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SRGB, _PQ, _HLG = 13, 16, 18
_WHITE = 203.0
"""Luminance of reference white in cd/m2 (BT.2408)."""
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2


@dataclass(frozen=True, slots=True)
class CodingPoints:
    """A color space."""

    linear: F32
    """f32[2**depth]: stored level to light; 1 is white. For HLG, light of the scene."""
    matrix: F32
    """f32[3,3]: light to linear sRGB."""
    luminance: F32 | None = None
    """f32[3]: weights of the luminance for the opto-optical transfer function of HLG; None for others."""
    is_srgb: bool = False
    """Whether no conversion is necessary."""

    def convert(self, rgb: Samples) -> U8:
        """Convert u8 or u16 [H,W,3] of the depth of ``linear`` to u8[H,W,3] in sRGB."""
        out = np.empty(rgb.shape, np.uint8)
        matrix = self.matrix * (STEPS - 1)
        encode = srgb_curve(np.linspace(0, 1, STEPS))
        rows = max(1, STRIP_BYTES // (3 * rgb.shape[1]))
        for top in range(0, rgb.shape[0], rows):
            light = self.linear[rgb[top : top + rows]]
            if self.luminance is not None:
                luminance = np.maximum(light @ self.luminance, 1e-6)
                light *= (luminance ** (_HLG_GAMMA - 1) * (_HLG_PEAK / _WHITE))[:, :, None]
            steps = np.asarray(cv2.transform(light, matrix))
            out[top : top + rows] = encode[np.clip(steps + 0.5, 0, STEPS - 1, out=steps).astype(np.uint16)]
        return out


def coding_points(primaries: int, transfer: int, *, full_range: bool = True, depth: int = 8) -> CodingPoints | None:
    """Return the color space; None if a code is not supported.

    Args:
        primaries: ColourPrimaries of H.273.
        transfer: TransferCharacteristics of H.273.
        full_range: False for samples from 16 to 235 (of 8 bits), as in video.
        depth: bits of a sample, 8 or 16.
    """
    if primaries not in _PRIMARIES:
        return None
    top = (1 << depth) - 1
    signal = np.arange(top + 1, dtype=np.float64)
    unit = 1 << (depth - 8)
    signal = signal / top if full_range else np.clip((signal - 16 * unit) / (219 * unit), 0, 1)
    light = _to_light(signal, transfer)
    if light is None:
        return None
    xyz, matrix = _matrices(primaries)
    weights = xyz[1].astype(np.float32) if transfer == _HLG else None
    is_srgb = primaries == 1 and transfer == _SRGB and full_range
    return CodingPoints(light.astype(np.float32), matrix.astype(np.float32), weights, is_srgb)


def _to_light(signal: np.ndarray, transfer: int) -> np.ndarray | None:
    """Return the light of a signal 0..1 (H.273 table 3); None if the code is not supported."""
    if transfer in (1, 6, 14, 15):  # BT.709, BT.601, BT.2020
        return np.where(signal < 0.081, signal / 4.5, ((signal + 0.099) / 1.099) ** (1 / 0.45))
    if transfer in (4, 5):
        return np.asarray(signal ** (2.2 if transfer == 4 else 2.8))
    if transfer == 7:  # SMPTE 240M
        return np.where(signal < 0.0912, signal / 4, ((signal + 0.1115) / 1.1115) ** (1 / 0.45))
    if transfer == 8:
        return signal
    if transfer == _SRGB:
        values = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        power, gain, offset, slope, limit = (round(each * _UNIT) / _UNIT for each in values)
        return np.where(signal >= limit, (gain * signal + offset) ** power, slope * signal)
    if transfer == _PQ:
        root = signal ** (1 / 78.84375)
        ratio = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
        return np.asarray(ratio ** (1 / 0.1593017578125) * (10_000 / _WHITE))
    if transfer == _HLG:
        return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return None


def _matrices(primaries: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (linear RGB to XYZ, linear RGB to linear sRGB, adapted by Bradford's method as ICC profiles are)."""
    *corners, white = (np.array((x / y, 1, (1 - x - y) / y)) for x, y in _PRIMARIES[primaries])
    columns = np.stack(corners, axis=1)
    xyz = columns * np.linalg.solve(columns, white)
    cones = (_BRADFORD @ _D50_XYZ) / (_BRADFORD @ white)
    adapted = np.linalg.inv(_BRADFORD) @ (cones[:, None] * _BRADFORD) @ xyz
    return xyz, TO_SRGB @ (np.round(adapted * _UNIT) / _UNIT)
