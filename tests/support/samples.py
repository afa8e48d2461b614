"""Public-domain photographs, and encoders for every kind of file that a client may send.

The photographs are files of the installed scikit-image package, so nothing is downloaded. The PNG and ICC writers are
written here because no installed encoder writes the rarer kinds (W3C PNG third edition; ICC.1:2001-04 for version 2
profiles).
"""

from __future__ import annotations

import struct
import zlib
from functools import cache
from io import BytesIO
from typing import Any, Literal

import numpy as np
import skimage.data
from PIL import Image

Photo = Literal["astronaut", "chelsea", "coffee", "rocket"]
PHOTOS: tuple[Photo, ...] = ("astronaut", "chelsea", "coffee", "rocket")


@cache
def _photo(name: Photo) -> np.ndarray:
    pixels = np.ascontiguousarray(getattr(skimage.data, name)(), np.uint8)
    pixels.setflags(write=False)
    return pixels


def photo(name: Photo = "astronaut", width: int | None = None, height: int | None = None) -> np.ndarray:
    """Return a photo as u8[H,W,3], resized, or in its own size (about 0.2 MP, read-only)."""
    pixels = _photo(name)
    if width is None or height is None:
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def corners(width: int = 48, height: int = 32) -> np.ndarray:
    """Return u8[H,W,3] with one flat color per quadrant. It shows the orientation and survives lossy compression."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (220, 30, 30)
    pixels[: height // 2, width // 2 :] = (30, 200, 30)
    pixels[height // 2 :, : width // 2] = (30, 30, 220)
    pixels[height // 2 :, width // 2 :] = (230, 220, 40)
    return pixels


def disc(height: int, width: int, soft: float = 4.0) -> np.ndarray:
    """Return u8[H,W]: an ellipse with a soft edge, 255 inside and 0 outside, that does not touch the border."""
    down, across = np.mgrid[:height, :width]
    radius = np.hypot((down - height / 2 + 0.5) / (height * 0.35), (across - width / 2 + 0.5) / (width * 0.35))
    edge = (1 - radius) * min(height, width) * 0.35 / soft + 0.5
    return (np.clip(edge, 0, 1) * 255).round().astype(np.uint8)


def as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Return the pixels that a camera stores with ``orientation`` for an image displayed as ``upright``."""
    undo: dict[int, Any] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    return np.ascontiguousarray(undo[orientation](upright))


def exif(orientation: int, order: Literal["II", "MM"] = "II") -> bytes:
    """Return a TIFF block with only the orientation tag."""
    mark = "<" if order == "II" else ">"
    tag = struct.pack(f"{mark}HHIHH", 0x0112, 3, 1, orientation, 0)
    return order.encode() + struct.pack(f"{mark}HIH", 42, 8, 1) + tag + bytes(4)


def jpeg(pixels: np.ndarray, *, quality: int = 95, orientation: int | None = None, **options: Any) -> bytes:
    """Encode u8[H,W,3] or gray u8[H,W]. ``options`` are Pillow's, such as progressive, subsampling or icc_profile."""
    if orientation is not None:
        options["exif"] = b"Exif\x00\x00" + exif(orientation)
    return _save(Image.fromarray(pixels), "JPEG", quality=quality, **options)


def jpeg_cmyk(inks: np.ndarray, **options: Any) -> bytes:
    """Encode u8[H,W,4], 255 = full ink, inverted as Adobe writes it."""
    return _save(Image.frombytes("CMYK", inks.shape[1::-1], inks.tobytes()), "JPEG", quality=95, **options)


def jpeg_ycck(inks: np.ndarray, **options: Any) -> bytes:
    """Encode as ``jpeg_cmyk``, with the color inks converted to YCbCr (Adobe transform 2)."""
    ycc = np.asarray(Image.fromarray(np.ascontiguousarray(inks[:, :, :3])).convert("YCbCr"))
    # Pillow stores 255 - x as CMYK. The changed marker declares the same bytes to be YCCK.
    planes = np.dstack([255 - ycc, inks[:, :, 3]])
    data = bytearray(jpeg_cmyk(planes, subsampling=0, **options))
    at = data.index(b"\xff\xee\x00\x0eAdobe") + 15
    data[at] = 2
    return bytes(data)


def jpeg_cmyk_plain(inks: np.ndarray) -> bytes:
    """Encode CMYK without the Adobe marker."""
    data = jpeg_cmyk(inks)
    at = data.index(b"\xff\xee\x00\x0eAdobe")
    return data[:at] + data[at + 16 :]


def png(pixels: np.ndarray, *, orientation: int | None = None, **options: Any) -> bytes:
    """Encode u8[H,W], u8[H,W,3] or u8[H,W,4]."""
    if orientation is not None:
        options["exif"] = exif(orientation)
    return _save(Image.fromarray(pixels), "PNG", compress_level=1, **options)


def webp(pixels: np.ndarray, *, orientation: int | None = None, **options: Any) -> bytes:
    """Encode u8[H,W,3] or u8[H,W,4]. Lossy unless ``lossless=True``."""
    if orientation is not None:
        options["exif"] = exif(orientation)
    return _save(Image.fromarray(pixels), "WEBP", method=0, **options)


def animated(frames: list[np.ndarray], fmt: Literal["PNG", "WEBP", "MPO"], **options: Any) -> bytes:
    first, *rest = [Image.fromarray(frame) for frame in frames]
    return _save(first, fmt, save_all=True, append_images=rest, **options)


def saved(image: Image.Image, fmt: str, **options: Any) -> bytes:
    """Encode a Pillow image with Pillow's options."""
    return _save(image, fmt, **options)


def _save(image: Image.Image, fmt: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, fmt, **options)
    return out.getvalue()


# --- PNG, every color type, depth and interlacing -------------------------------------------------------------------

_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""Adam7 passes: first row, first column, row step, column step."""


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_raw(samples: np.ndarray, depth: int, color_type: int, *, extra: bytes = b"", interlaced: bool = False) -> bytes:
    """Encode samples [H,W,C] of 0..2**depth-1. ``extra``: whole chunks between IHDR and IDAT."""
    height, width = samples.shape[:2]
    samples = samples.reshape(height, width, samples.shape[2] if samples.ndim == 3 else 1)
    ihdr = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, int(interlaced))
    passes = [samples[top::down, left::right] for top, left, down, right in _PASSES] if interlaced else [samples]
    rows = b"".join(b"\x00" + _packed(row, depth) for part in passes if part.size for row in part)
    body = png_chunk(b"IHDR", ihdr) + extra + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _packed(row: np.ndarray, depth: int) -> bytes:
    flat = row.reshape(-1)
    if depth >= 8:
        return flat.astype(">u2" if depth == 16 else np.uint8).tobytes()
    bits = (flat[:, None].astype(np.uint8) >> np.arange(depth, dtype=np.uint8)[::-1]) & 1
    return np.packbits(bits.reshape(-1)).tobytes()


# --- ICC profiles ---------------------------------------------------------------------------------------------------

_D50 = (0.9642, 1.0, 0.8249)
SRGB_PRIMARIES = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
ADOBE_PRIMARIES = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))
P3_PRIMARIES = ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841))
"""Columns of the matrix from RGB to D50 XYZ."""


def srgb_curve() -> bytes:
    light = np.linspace(0, 1, 1024)
    linear = np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    return b"curv" + struct.pack(">II", 0, 1024) + (linear * 65535).round().astype(">u2").tobytes()


def gamma_curve(gamma: float) -> bytes:
    return b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256))


def parametric_curve(kind: int, *values: float) -> bytes:
    return (
        b"para" + struct.pack(">IHH", 0, kind, 0) + struct.pack(f">{len(values)}i", *(round(v * 65536) for v in values))
    )


SRGB_PARAMETRIC = parametric_curve(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def icc_rgb(primaries: tuple[tuple[float, float, float], ...] = P3_PRIMARIES, curve: bytes | None = None) -> bytes:
    """Return a display profile, Display P3 by default."""
    curve = curve or srgb_curve()
    tags = {b"rXYZ": _xyz(primaries[0]), b"gXYZ": _xyz(primaries[1]), b"bXYZ": _xyz(primaries[2])}
    return _icc(b"mntr", b"RGB ", b"XYZ ", tags | {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def icc_gray(curve: bytes) -> bytes:
    return _icc(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": curve})


def icc_cmyk(lab_of_cyan: tuple[int, int, int] = (50, -20, -30)) -> bytes:
    """Return a profile of a four-ink printer. Paper is white, pure cyan has the given Lab, all other inks are black."""
    table = np.zeros((16, 3), np.uint8)
    table[:, 1:] = 128
    table[0] = (255, 128, 128)
    lightness, a, b = lab_of_cyan
    table[8] = (round(lightness * 2.55), a + 128, b + 128)  # the first ink varies slowest
    ramp = bytes(range(256))
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + ramp * 4 + table.tobytes() + ramp * 3
    return _icc(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut, b"A2B1": lut})


def _xyz(value: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(part * 65536) for part in value))


def _icc(device: bytes, space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    name = b"made for tests\x00"
    description = b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(12 + 67)
    tags = {b"desc": description, b"cprt": b"text" + bytes(4) + b"none\x00", b"wtpt": _xyz(_D50)} | tags
    table, bodies = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for kind, body in tags.items():
        table += kind + struct.pack(">II", start + len(bodies), len(body))
        bodies += body + bytes(-len(body) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12s4s", start + len(bodies), bytes(4), 0x02400000, device, space, pcs, bytes(12), b"acsp"
    )
    head += bytes(68 - len(head)) + struct.pack(">3i", *(round(part * 65536) for part in _D50))
    return head + bytes(128 - len(head)) + table + bodies
