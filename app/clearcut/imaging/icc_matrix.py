"""Display profiles of the simple kind, a curve per channel and a matrix (ICC.1:2022 section 8.3), done by hand.

They are what cameras, phones and editors embed: sRGB, Display P3, Adobe RGB. The general engine takes twice as long
for the same result to within one level, and is kept for all other kinds.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import cv2
import numpy as np

from .types import F32, U8

_TO_SRGB = np.linalg.inv(
    np.array(
        [
            [0.4360747, 0.3850649, 0.1430804],
            [0.2225045, 0.7168786, 0.0606169],
            [0.0139322, 0.0971045, 0.7141733],
        ]
    )
)
"""From D50 XYZ, as profiles count, to linear sRGB."""
_STEPS = 1 << 14
_STRIP_BYTES = 1 << 17
_MAX_TAGS = 100


@dataclass(frozen=True, slots=True)
class MatrixProfile:
    linear: F32
    """f32[256,3]: stored level to light."""
    matrix: F32
    """f32[3,3]: light to linear sRGB."""

    def convert(self, rgb: U8) -> None:
        """u8[H,W,3] to sRGB, in place."""
        matrix = self.matrix * (_STEPS - 1)
        table = np.ascontiguousarray(self.linear[None])
        encode = srgb_curve(np.linspace(0, 1, _STEPS))
        rows = max(1, _STRIP_BYTES // (3 * rgb.shape[1]))
        for top in range(0, rgb.shape[0], rows):
            strip = rgb[top : top + rows]
            light = np.asarray(cv2.transform(cv2.LUT(strip, table), matrix))
            steps = np.clip(light + 0.5, 0, _STEPS - 1, out=light).astype(np.uint16)
            strip[:] = encode[steps]


def srgb_curve(light: np.ndarray) -> U8:
    """Light 0..1 to sRGB levels (IEC 61966-2-1)."""
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(curve * 255).astype(np.uint8)


def parse(profile: bytes) -> MatrixProfile | None:
    """The curves and the matrix of an RGB profile; None when it is of another kind or not as it should be."""
    try:
        tags = _tags(profile)
        if profile[16:24] != b"RGB XYZ " or b"A2B0" in tags or b"A2B1" in tags:
            return None
        columns = [_xyz(tags[kind]) for kind in (b"rXYZ", b"gXYZ", b"bXYZ")]
        with np.errstate(all="ignore"):
            curves = [_curve(tags[kind]) for kind in (b"rTRC", b"gTRC", b"bTRC")]
    except (KeyError, struct.error, ValueError):
        return None
    linear = np.clip(np.stack(curves, axis=1), 0, 1)
    matrix = _TO_SRGB @ np.array(columns).T
    if not (np.isfinite(linear).all() and np.isfinite(matrix).all()):
        return None
    return MatrixProfile(linear.astype(np.float32), matrix.astype(np.float32))


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    if profile[36:40] != b"acsp" or count > _MAX_TAGS:
        raise ValueError("no profile")
    tags = {}
    for index in range(count):
        kind, start, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        tags[kind] = profile[start : start + size]
    return tags


def _xyz(body: bytes) -> tuple[float, ...]:
    if body[:4] != b"XYZ ":
        raise ValueError("no colour")
    return tuple(value / 65536 for value in struct.unpack_from(">3i", body, 8))


def _curve(body: bytes) -> np.ndarray:
    """f64[256]: a curveType or parametricCurveType (ICC.1:2022 10.6 and 10.18) at the 256 levels."""
    level = np.linspace(0, 1, 256)
    if body[:4] == b"curv":
        (count,) = struct.unpack_from(">I", body, 8)
        if count == 0:
            return level
        if count == 1:
            return np.asarray(level ** (struct.unpack_from(">H", body, 12)[0] / 256))
        if len(body) < 12 + 2 * count:
            raise ValueError("curve cut short")
        points = np.frombuffer(body, ">u2", count, 12) / 65535
        return np.interp(level, np.linspace(0, 1, count), points)
    if body[:4] != b"para":
        raise ValueError("no curve")
    (kind,) = struct.unpack_from(">H", body, 8)
    count = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}.get(kind)
    if count is None:
        raise ValueError("no such curve")
    given = [value / 65536 for value in struct.unpack_from(f">{count}i", body, 12)]
    g = given[0]
    a, b = (given[1], given[2]) if count > 1 else (1.0, 0.0)
    power = np.maximum(a * level + b, 0) ** g if g > 0 else level
    if kind == 0:
        return np.asarray(power)
    if kind <= 2:
        shift = given[3] if kind == 2 else 0.0
        start = -b / a if a else 0.0
        return np.asarray(np.where(level >= start, power + shift, shift))
    c, d = given[3], given[4]
    e, f = given[5:7] if kind == 4 else (0.0, 0.0)
    return np.asarray(np.where(level >= d, power + e, c * level + f))
