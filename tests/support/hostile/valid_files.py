"""Forty valid files: every format, mode, depth and orientation that the service accepts. Other files derive from
them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

from tests.support import heif_files, samples

Make = Callable[[], bytes]


def _photo(width: int = 120, height: int = 80) -> np.ndarray:
    return samples.photo("astronaut", width, height)


def _with_alpha() -> np.ndarray:
    return np.dstack([_photo(), samples.disc(80, 120)])


def _levels(depth: int, channels: int, seed: int = 0) -> np.ndarray:
    dtype = np.uint16 if depth == 16 else np.uint8
    return np.random.default_rng(seed).integers(0, 1 << depth, (48, 64, channels), dtype)


def _png(depth: int, kind: int, channels: int, interlaced: bool = False, extra: bytes = b"") -> Make:
    return lambda: samples.png_raw(_levels(depth, channels), depth, kind, interlaced=interlaced, extra=extra)


def _palette(interlaced: bool = False, transparent: bool = False) -> Make:
    colors = np.random.default_rng(1).integers(0, 256, 768, np.uint8).tobytes()
    extra = samples.png_chunk(b"PLTE", colors)
    if transparent:
        extra += samples.png_chunk(b"tRNS", bytes(range(256)))
    return _png(8, 3, 1, interlaced, extra)


def _exif(data: bytes) -> bytes:
    return samples.png_chunk(b"eXIf", data)


def _inks() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (48, 64, 4), np.uint8)


def _icc_chunk() -> bytes:
    return samples.png_chunk(b"iCCP", b"p3\x00\x00" + zlib.compress(samples.icc_rgb()))


def _restarts() -> bytes:
    return samples.jpeg(_photo(), restart_marker_blocks=4)


MAKERS: dict[str, Make] = {
    "jpeg": lambda: samples.jpeg(_photo()),
    "jpeg 420": lambda: samples.jpeg(_photo(), quality=60, subsampling=2),
    "jpeg progressive": lambda: samples.jpeg(_photo(), progressive=True),
    "jpeg gray": lambda: samples.jpeg(np.ascontiguousarray(_photo()[..., 1])),
    "jpeg gray progressive": lambda: samples.jpeg(np.ascontiguousarray(_photo()[..., 1]), progressive=True),
    "jpeg cmyk": lambda: samples.jpeg_cmyk(_inks()),
    "jpeg cmyk icc": lambda: samples.jpeg_cmyk(_inks(), icc_profile=samples.icc_cmyk()),
    "jpeg cmyk plain": lambda: samples.jpeg_cmyk_plain(_inks()),
    "jpeg ycck": lambda: samples.jpeg_ycck(_inks()),
    "jpeg icc": lambda: samples.jpeg(_photo(), icc_profile=samples.icc_rgb()),
    "jpeg gray icc": lambda: samples.jpeg(
        np.ascontiguousarray(_photo()[..., 1]), icc_profile=samples.icc_gray(samples.gamma_curve(1.8))
    ),
    "jpeg restarts": _restarts,
    "jpeg comment": lambda: samples.jpeg(_photo(), comment=b"a comment " * 20),
    "jpeg multi-picture": lambda: samples.animated([_photo(), _photo()[:, ::-1]], "MPO"),
    **{f"jpeg turned {n}": lambda n=n: samples.jpeg(_photo(), orientation=n) for n in (2, 3, 5, 6, 8)},  # type: ignore[misc]
    "png": lambda: samples.png(_photo()),
    "png alpha": lambda: samples.png(_with_alpha()),
    "png gray 1": _png(1, 0, 1),
    "png gray 4 interlaced": _png(4, 0, 1, True),
    "png gray 16": _png(16, 0, 1),
    "png gray alpha": _png(8, 4, 2),
    "png rgb 16": _png(16, 2, 3),
    "png rgba 16 interlaced": _png(16, 6, 4, True),
    "png palette": _palette(),
    "png palette transparent interlaced": _palette(True, True),
    "png rgb interlaced": _png(8, 2, 3, True),
    "png color key": _png(8, 2, 3, False, samples.png_chunk(b"tRNS", bytes(6))),
    "png icc": lambda: samples.png_raw(_levels(8, 3), 8, 2, extra=_icc_chunk()),
    "png turned": lambda: samples.png(_photo(), orientation=6),
    "png text": _png(8, 2, 3, False, samples.png_chunk(b"tEXt", b"Comment\x00text")),
    "png animated": lambda: samples.animated([_photo(), _photo()[::-1]], "PNG"),
    "webp": lambda: samples.webp(_photo()),
    "webp alpha": lambda: samples.webp(_with_alpha()),
    "webp lossless": lambda: samples.webp(_photo(), lossless=True),
    "webp lossless alpha": lambda: samples.webp(_with_alpha(), lossless=True),
    "webp icc turned": lambda: samples.webp(_photo(), orientation=6, icc_profile=samples.icc_rgb()),
    "webp animated": lambda: samples.animated([_photo(), _photo()[::-1]], "WEBP"),
}


MORE_MAKERS: dict[str, Make] = {
    "avif": lambda: _pillow("AVIF", _photo(), speed=10),
    "avif alpha": lambda: _pillow("AVIF", _with_alpha(), speed=10),
    "avif turned": lambda: _pillow("AVIF", _photo(), speed=10, exif=samples.exif(6)),
    "avif icc": lambda: _pillow("AVIF", _photo(), speed=10, icc_profile=samples.icc_rgb()),
    "avif gray": lambda: _pillow("AVIF", _photo()[..., 1], speed=10),
    "gif": lambda: _pillow("GIF", _photo()[..., 1]),
    "gif transparent": lambda: _pillow("GIF", _with_alpha()),
    "gif animated": lambda: _pillow("GIF", _photo(), save_all=True, append_images=[Image.fromarray(_photo()[::-1])]),
    "bmp": lambda: _pillow("BMP", _photo()),
    "bmp palette": lambda: _pillow("BMP", _photo()[..., 1]),
    "tiff": lambda: _pillow("TIFF", _photo()),
    "tiff lzw alpha": lambda: _pillow("TIFF", _with_alpha(), compression="tiff_lzw"),
    "tiff deflate turned": lambda: _pillow("TIFF", _photo(), compression="tiff_adobe_deflate", tiffinfo={274: 6}),
    "tiff cmyk": lambda: samples.saved(Image.frombytes("CMYK", (64, 48), _inks().tobytes()), "TIFF"),
    "tiff gray 16": lambda: _pillow("TIFF", _levels(16, 1)[..., 0]),
    "heic": lambda: heif_files.heic(_photo(48, 32)),
    "heic alpha": lambda: heif_files.heic(_photo(48, 32), alpha=samples.disc(32, 48)),
    "heic tiles turned": lambda: heif_files.heic_grid(_photo(48, 32), 16, heif_files.nclx(), heif_files.irot(1)),
}
"""Valid files of the formats without a part-by-part mutator."""


def _pillow(fmt: str, pixels: np.ndarray, **options: object) -> bytes:
    return samples.saved(Image.fromarray(np.ascontiguousarray(pixels)), fmt, **options)


@cache
def base(name: str) -> bytes:
    return (MAKERS | MORE_MAKERS)[name]()


def kind(name: str) -> str:
    return name.split()[0]


assert len(MAKERS) >= 40, len(MAKERS)
