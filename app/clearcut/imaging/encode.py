"""encode: a cut-out becomes the bytes of a file. There is no metadata: of the input, only pixels can get in."""

from __future__ import annotations

import zipfile
from io import BytesIO
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from clearcut.errors import InvalidOption
from clearcut.imaging.compositing.inpaint import extend
from clearcut.imaging.formats.png_writer import encode_png

from .types import U8, Buffer, Cutout, EncodedImage, OutputFormat

FileFormat = Literal["png", "jpg", "webp", "zip"]

_MEDIA_TYPES: dict[FileFormat, str] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "zip": "application/zip",
}
_MAX_SIDE: dict[FileFormat, int] = {"png": 2**31 - 1, "jpg": 65_500, "webp": 16_383, "zip": 65_500}
"""Of the format (WebP: RFC 9649; PNG: 11.2.1) or, for JPEG, of libjpeg (the format: 65,535)."""
_JPEG_QUALITY, _WEBP_QUALITY = 90, 85
_WEBP_METHOD = 0
"""libwebp's effort, 0..6. Measured on cut-outs: 2 takes twice the time for a third less, 4 four times."""


def encode(cutout: Cutout, wanted: OutputFormat, quality: int | None = None) -> EncodedImage:
    """``cutout`` as a file; ``quality`` 1..100 for jpg (90) and webp (85).

    A one-channel cut-out becomes a grey picture. ``jpg`` needs an opaque one, ``zip`` one with colour. ``auto`` gives a
    png if anything is transparent, else a jpg.

    Raises:
        InvalidOption: a side is longer than the format can hold, or the format cannot hold a lone matte.
    """
    fmt: FileFormat = "png"
    if wanted != "auto":
        fmt = wanted
    elif opaque(cutout.pixels):
        fmt, cutout = "jpg", Cutout(np.ascontiguousarray(cutout.pixels[:, :, :3]))
    if max(cutout.width, cutout.height) > _MAX_SIDE[fmt]:
        raise InvalidOption(
            "format", f"a format for {cutout.width} x {cutout.height} pixels; {fmt} allows {_MAX_SIDE[fmt]} a side"
        )
    data: Buffer
    if fmt == "png":
        data = encode_png(cutout.pixels)
    elif fmt == "jpg":
        data = _jpeg(cutout.pixels, quality or _JPEG_QUALITY)
    elif fmt == "zip":
        data = _zip(cutout.pixels, quality or _JPEG_QUALITY)
    else:
        data = _webp(cutout.pixels, quality or _WEBP_QUALITY)
    return EncodedImage(data, _MEDIA_TYPES[fmt], cutout.width, cutout.height)


def opaque(pixels: U8) -> bool:
    """Whether a cut-out u8[h,w,1|3|4] shows every pixel in full; a lone matte counts as transparent."""
    channels = pixels.shape[2]
    return channels == 3 or (channels == 4 and cv2.minMaxLoc(cv2.extractChannel(pixels, 3))[0] == 255)


def _jpeg(pixels: U8, quality: int) -> memoryview:
    """Without chroma subsampling: a cut edge against a plain ground is where halved chroma shows most."""
    if pixels.shape[2] == 4:
        raise ValueError("JPEG has no alpha channel")
    source = pixels if pixels.shape[2] == 1 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    done, encoded = cv2.imencode(".jpg", source, [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])
    if not done:
        raise ValueError("the JPEG encoder failed")
    return encoded.data


def _webp(pixels: U8, quality: int) -> bytes:
    """Lossy colour, lossless alpha, through Pillow: OpenCV gives no say over libwebp's effort and uses 4.

    The encoder may replace colour under alpha 0, which is zero by now, by what makes the visible edge beside it
    cheaper and cleaner; that is taken from visible pixels only.
    """
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    out = BytesIO()
    picture.save(out, "WEBP", quality=quality, method=_WEBP_METHOD, exact=False)
    return out.getvalue()


def _zip(pixels: U8, quality: int) -> bytes:
    """``color.jpg`` and ``alpha.png``: far smaller than one PNG, for clients that put them together again.

    Colour under alpha 0 is a continuation of the subject's, so that the JPEG's blocks do not darken the edge and
    nothing of the old background is in the file.
    """
    if pixels.shape[2] == 1:
        raise InvalidOption("channels", "rgba or rgb, because format is zip")
    rgb = np.ascontiguousarray(pixels[:, :, :3])
    alpha = pixels[:, :, 3].copy() if pixels.shape[2] == 4 else np.full(pixels.shape[:2], 255, np.uint8)
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in (
            ("color.jpg", _jpeg(extend(rgb, alpha), quality)),
            ("alpha.png", encode_png(alpha[:, :, None])),
        ):
            # a fixed date: the same picture gives the same bytes
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return out.getvalue()
