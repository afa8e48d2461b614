"""ICC display profiles with one curve per channel and a matrix (ICC.1:2022 section 8.3), converted with OpenCV.

Cameras, phones and editors embed such profiles: sRGB, Display P3, Adobe RGB. LittleCMS takes twice as long for the same
result within one level; it converts all other kinds.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import cv2
import numpy as np

from .types import F32, U8

TO_SRGB = np.linalg.inv(
    np.array(
        [
            [0.4360747, 0.3850649, 0.1430804],
            [0.2225045, 0.7168786, 0.0606169],
            [0.0139322, 0.0971045, 0.7141733],
        ]
    )
)
"""From D50 XYZ, the connection space of profiles, to linear sRGB."""
STEPS = 1 << 14
"""Steps of linear light in the table that encodes sRGB."""
STRIP_BYTES = 1 << 17
"""Bytes of RGB that are converted at a time; the temporaries fit the CPU cache."""
_MAX_TAGS = 100


@dataclass(frozen=True, slots=True)
class MatrixProfile:
    """Curves and matrix of a profile."""

    linear: F32
    """f32[256,3]: stored level to linear light."""
    matrix: F32
    """f32[3,3]: linear light to linear sRGB."""

    def convert(self, rgb: U8) -> None:
        """Convert u8[H,W,3] to sRGB, in place."""
        matrix = self.matrix * (STEPS - 1)
        table = np.ascontiguousarray(self.linear[None])
        encode = srgb_curve(np.linspace(0, 1, STEPS))
        rows = max(1, STRIP_BYTES // (3 * rgb.shape[1]))
        for top in range(0, rgb.shape[0], rows):
            strip = rgb[top : top + rows]
            light = np.asarray(cv2.transform(cv2.LUT(strip, table), matrix))
            steps = np.clip(light + 0.5, 0, STEPS - 1, out=light).astype(np.uint16)
            strip[:] = encode[steps]


def srgb_curve(light: np.ndarray) -> U8:
    """Encode linear light 0..1 as sRGB levels 0..255 (IEC 61966-2-1)."""
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(curve * 255).astype(np.uint8)


def parse(profile: bytes) -> MatrixProfile | None:
    """Read the curves and the matrix of an RGB profile; None if the profile is of another kind or damaged."""
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
    matrix = TO_SRGB @ np.array(columns).T
    if not (np.isfinite(linear).all() and np.isfinite(matrix).all()):
        return None
    return MatrixProfile(linear.astype(np.float32), matrix.astype(np.float32))


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    if profile[36:40] != b"acsp" or count > _MAX_TAGS:
        raise ValueError("not an ICC profile")
    tags = {}
    for index in range(count):
        kind, start, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        tags[kind] = profile[start : start + size]
    return tags


def _xyz(body: bytes) -> tuple[float, ...]:
    if body[:4] != b"XYZ ":
        raise ValueError("not an XYZ tag")
    return tuple(value / 65536 for value in struct.unpack_from(">3i", body, 8))


def _curve(body: bytes) -> np.ndarray:
    """Return a curveType or parametricCurveType (ICC.1:2022 10.6, 10.18) at the 256 levels, f64[256]."""
    level = np.linspace(0, 1, 256)
    if body[:4] == b"curv":
        (count,) = struct.unpack_from(">I", body, 8)
        if count == 0:
            return level
        if count == 1:
            return np.asarray(level ** (struct.unpack_from(">H", body, 12)[0] / 256))
        if len(body) < 12 + 2 * count:
            raise ValueError("truncated curve")
        points = np.frombuffer(body, ">u2", count, 12) / 65535
        return np.interp(level, np.linspace(0, 1, count), points)
    if body[:4] != b"para":
        raise ValueError("not a curve tag")
    (kind,) = struct.unpack_from(">H", body, 8)
    count = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}.get(kind)
    if count is None:
        raise ValueError("unknown curve type")
    values = [value / 65536 for value in struct.unpack_from(f">{count}i", body, 12)]
    g = values[0]
    a, b = (values[1], values[2]) if count > 1 else (1.0, 0.0)
    power = np.maximum(a * level + b, 0) ** g if g > 0 else level
    if kind == 0:
        return np.asarray(power)
    if kind <= 2:
        shift = values[3] if kind == 2 else 0.0
        start = -b / a if a else 0.0
        return np.asarray(np.where(level >= start, power + shift, shift))
    c, d = values[3], values[4]
    e, f = values[5:7] if kind == 4 else (0.0, 0.0)
    return np.asarray(np.where(level >= d, power + e, c * level + f))
