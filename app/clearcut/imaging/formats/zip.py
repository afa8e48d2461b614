"""ZIP with ``color.jpg`` and ``alpha.png``, as remove.bg returns it: much smaller than one PNG. Output only."""

from __future__ import annotations

import zipfile
from io import BytesIO

import numpy as np

from clearcut.errors import InvalidOption
from clearcut.imaging.compositing.inpaint import extend
from clearcut.imaging.types import U8

from . import jpeg
from .base import ImageFormat, Writer
from .png_file.writer import encode_png

_DATE = (1980, 1, 1, 0, 0, 0)
"""Fixed, so that equal images give equal bytes."""


def encode(pixels: U8, quality: int) -> bytes:
    """Encode u8[h,w,3|4]; ``quality`` 1..100 is that of the JPEG.

    The color under alpha 0 continues the color of the subject. The JPEG blocks at the edge stay bright, and the file
    contains no removed pixel.

    Raises:
        InvalidOption: the pixels are a matte without color.
    """
    if pixels.shape[2] == 1:
        raise InvalidOption("channels", "rgba or rgb, because format is zip")
    rgb = np.ascontiguousarray(pixels[:, :, :3])
    alpha = pixels[:, :, 3].copy() if pixels.shape[2] == 4 else np.full(pixels.shape[:2], 255, np.uint8)
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in (
            ("color.jpg", jpeg.encode(extend(rgb, alpha), quality)),
            ("alpha.png", encode_png(alpha[:, :, None])),
        ):
            archive.writestr(zipfile.ZipInfo(name, _DATE), content)
    return out.getvalue()


ZIP = ImageFormat(
    name="zip",
    title="ZIP",
    media_type="application/zip",
    extension="zip",
    writer=Writer(encode, max_side=65_500, default_quality=90, is_image=False),  # the limit of libjpeg
)
