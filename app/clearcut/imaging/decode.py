"""decode: a file that ``probe`` has passed becomes upright sRGB pixels.

OpenCV decodes all three formats with the GIL released and without metadata; what it would do differently from what
we promise is done here: orientation (once, for every format), 16-bit reduction, the transparency of greyscale PNG,
colour profiles, and CMYK (Pillow). Animations and multi-picture files give their first frame.
"""

from __future__ import annotations

import struct
from io import BytesIO

import cv2
import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from clearcut.errors import CorruptImage

from . import color
from .formats import jpeg_segments, png_chunks, png_metadata, webp_chunks
from .types import U8, Buffer, DecodedImage, ImageHeader

_MAX_PROFILE = 4 << 20
"""Largest ICC profile that is read, bytes; press profiles have up to about 3 MB."""
_TO_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
"""The bit that reduces; whether the picture is grey is another one's."""


def decode(data: Buffer, header: ImageHeader, reduced: int = 1) -> DecodedImage:
    """The pixels of ``data``, upright, 8-bit sRGB; ``alpha`` only where some pixel is not opaque.

    ``reduced``: 2, 4 or 8 makes a JPEG that many times smaller, rounded up, straight from its frequencies.

    Raises:
        CorruptImage: it cannot be decoded, is truncated, or is not of the size that its header says.
        MemoryError, cv2.error: there is no memory for it.
    """
    view = memoryview(data).cast("B")
    rgb, alpha = _jpeg(view, header, reduced) if header.format == "jpeg" else _DECODERS[header.format](view, header)
    if rgb.shape[:2] != (-(-header.height // reduced), -(-header.width // reduced)):
        raise _corrupt(header)
    if alpha is not None and int(alpha.min()) == 255:
        alpha = None
    return DecodedImage(
        rgb=_upright(rgb, header.orientation),
        alpha=None if alpha is None else _upright(alpha, header.orientation),
    )


def _jpeg(view: memoryview, header: ImageHeader, reduced: int) -> tuple[U8, U8 | None]:
    profile = jpeg_segments.icc_profile(view, _MAX_PROFILE)
    if jpeg_segments.components(view) == 4:
        rgb = _cmyk(view, header, profile)
        if reduced > 1:
            size = -(-header.width // reduced), -(-header.height // reduced)
            rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        return rgb, None
    rgb = _imdecode(view, header, _TO_RGB | _REDUCED[reduced])
    return (color.rgb_to_srgb(rgb, profile) if profile else rgb), None


def _cmyk(view: memoryview, header: ImageHeader, profile: bytes | None) -> U8:
    """Through Pillow, which knows Adobe's inverted CMYK and YCCK and hands out the four inks.

    The plug-in is called by its class: ``Image.open`` would try every format and warn above its own pixel limit,
    which is not ours.
    """
    try:
        with JpegImageFile(BytesIO(jpeg_segments.pixels_only(view))) as picture:
            picture.load()
            return color.cmyk_to_srgb(picture, profile)
    except (OSError, SyntaxError, ValueError, TypeError, IndexError, struct.error) as exc:  # as Image.open expects
        _room_for(header)
        raise _corrupt(header) from exc


def _png(view: memoryview, header: ImageHeader) -> tuple[U8, U8 | None]:
    ihdr = png_chunks.read_ihdr(view)
    table = png_metadata.sample_table(view, ihdr.depth)
    alpha: U8 | None = None
    bare = png_chunks.pixels_only(view)
    if ihdr.depth == 16 or header.has_alpha:
        pixels = _imdecode(bare, header, cv2.IMREAD_UNCHANGED)
        if pixels.ndim == 2:
            alpha = png_metadata.grey_transparency(view, pixels, ihdr.depth)
        rgb, own = _split(pixels, table if ihdr.depth == 16 else None)
        alpha = own if alpha is None else alpha
    else:
        rgb = _imdecode(bare, header, _TO_RGB)
    if table is not None and ihdr.depth != 16:
        rgb = np.asarray(cv2.LUT(rgb, table), np.uint8)
    profile = png_metadata.icc_profile(view, _MAX_PROFILE)
    return (color.rgb_to_srgb(rgb, profile) if profile else rgb), alpha


def _webp(view: memoryview, header: ImageHeader) -> tuple[U8, U8 | None]:
    alpha: U8 | None = None
    if header.has_alpha:
        rgb, alpha = _split(_imdecode(view, header, cv2.IMREAD_UNCHANGED), None)
    else:
        rgb = _imdecode(view, header, _TO_RGB)
    profile = webp_chunks.icc_profile(view, _MAX_PROFILE)
    return (color.rgb_to_srgb(rgb, profile) if profile else rgb), alpha


_DECODERS = {"png": _png, "webp": _webp}


def _imdecode(view: memoryview, header: ImageHeader, flags: int) -> U8:
    """OpenCV's answer; it has no error text, only None, for want of memory as well.

    Raises:
        CorruptImage, MemoryError
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(view, np.uint8), flags)
    except cv2.error as exc:
        if exc.code == cv2.Error.StsNoMem:
            raise
        raise _corrupt(header) from exc
    if pixels is None:
        _room_for(header)
        raise _corrupt(header)
    return pixels  # type: ignore[return-value]  # u16 from a 16-bit PNG, which _split reduces


def _room_for(header: ImageHeader) -> None:
    """Raise MemoryError if there is none for the decoded picture: a file is not to be blamed for that."""
    np.empty((header.height, header.width, 8), np.uint8)  # at most 16 bits of four channels; not touched, so not paid


def _split(pixels: U8, table: U8 | None) -> tuple[U8, U8 | None]:
    """u8 or u16 [H,W], BGR or BGRA to (RGB, alpha), 8 bits. ``table`` u8[65536] maps 16-bit colour samples."""
    alpha: U8 | None = None
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        alpha = _eight_bits(cv2.extractChannel(pixels, 3))
    to_rgb = {2: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
    rgb = cv2.cvtColor(pixels, to_rgb[2 if pixels.ndim == 2 else pixels.shape[2]])
    return (table[rgb] if table is not None else _eight_bits(rgb)), alpha


def _eight_bits(samples: np.ndarray) -> U8:
    """u16 to u8, rounded to nearest: 65535 / 257 = 255, and no sixteen-bit level lies half way."""
    if samples.dtype == np.uint8:
        return samples
    return np.asarray(cv2.convertScaleAbs(samples, alpha=1 / 257), np.uint8)


def _upright(pixels: U8, orientation: int) -> U8:
    """EXIF orientation (TIFF 6.0: what row 0 and column 0 of the stored picture are) undone."""
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


def _corrupt(header: ImageHeader) -> CorruptImage:
    return CorruptImage(
        f"The image starts as {header.format.upper()} and cannot be decoded: it is damaged or incomplete"
    )
