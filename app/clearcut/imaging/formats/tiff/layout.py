"""The layout of the first page of a TIFF: samples, compression, strips or tiles; checked before any decode."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from clearcut.errors import CorruptImage, SuspiciousStructure, UnsupportedFormat
from clearcut.imaging.formats.dimensions import check_dimensions
from clearcut.imaging.types import ProbeLimits

from .directory import Directory, Entry, number, read_directory, values

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIPS, ORIENTATION, SAMPLES, STRIP_ROWS, STRIP_BYTES, PLANAR = 273, 274, 277, 278, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES, EXTRA, FORMAT = 322, 323, 324, 325, 338, 339
PROFILE, _SUBDIRECTORIES, _SUBFILE, _DNG = 34675, 330, 254, 50706
_COPIED = (
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, 266, STRIPS, SAMPLES, STRIP_ROWS, STRIP_BYTES, PLANAR,
    317, 320, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES, EXTRA, FORMAT,
)  # fmt: skip
"""Tags that the decoder needs; 266 is the bit order, 317 the predictor, 320 the palette."""
_BEST_RATIO = {1: 1, 5: 2731, 8: 1032, 32946: 1032, 32773: 64}
"""Maximum compression by method: none, LZW, deflate (two numbers) and PackBits."""
_OTHER_METHODS = {
    2: "fax", 3: "fax", 4: "fax", 6: "old JPEG", 7: "JPEG",
    34712: "JPEG 2000", 34925: "LZMA", 50000: "zstd", 50001: "WebP",
}  # fmt: skip
_GRAY_INVERTED, _GRAY, _RGB, _PALETTE, _CMYK = 0, 1, 2, 3, 5
_COLORS = {_GRAY_INVERTED: 1, _GRAY: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4}
_UNSPECIFIED, _ASSOCIATED, _UNASSOCIATED = 0, 1, 2
"""Meanings of an extra sample."""
_SHORT = 3
"""Type of values with 16 bits."""
_MAX_PARTS = 65_536
"""Maximum strips or tiles: one strip for each row and plane of the largest image."""
_PADDING_FACTOR, _PADDING_PIXELS = 2, 1 << 20
"""Tiles may have this many times the pixels of the image, plus a constant for small images."""


@dataclass(frozen=True, slots=True)
class Page:
    """The first page."""

    directory: Directory
    width: int
    height: int
    orientation: int
    bits: int
    photometric: int
    samples: int
    """Samples for each pixel, with alpha and extra samples."""
    has_alpha: bool
    is_premultiplied: bool
    planes: int
    """The number of samples if each has its own strips or tiles, else 1."""

    @property
    def is_cmyk(self) -> bool:
        return self.photometric == _CMYK

    @property
    def is_palette(self) -> bool:
        return self.photometric == _PALETTE

    @property
    def is_inverted(self) -> bool:
        return self.photometric == _GRAY_INVERTED

    @property
    def is_inverted_gray_16(self) -> bool:
        """Return whether the image is inverted gray of 16 bits. Pillow inverts only up to 8 bits."""
        return self.is_inverted and self.bits == 16

    @property
    def colors(self) -> int:
        """Return the number of samples without alpha and extra samples."""
        return _COLORS[self.photometric]

    @property
    def is_premultiplied_gray(self) -> bool:
        """Return whether the samples are gray and premultiplied alpha, interleaved. Pillow does not read this."""
        return self.photometric == _GRAY and self.samples == 2 and self.is_premultiplied and self.planes == 1


def read_page(view: memoryview, limits: ProbeLimits) -> Page:
    """Read and check the layout of the first page.

    Raises:
        CorruptImage: the file is truncated or contradicts itself.
        SuspiciousStructure: floods of entries, strips or tiles, or strips that share data.
        TooManyPixels: the size is above ``limits``.
        UnsupportedFormat: a compression, color or sample type that is not read, or a camera raw file.
    """
    directory = read_directory(view)
    entries = directory.entries
    reduced = number(view, directory, _SUBFILE, 0) & 1
    if _DNG in entries or bytes(view[8:10]) == b"CR" or (reduced and _SUBDIRECTORIES in entries):
        raise UnsupportedFormat("camera raw; export it as JPEG")
    width, height = number(view, directory, WIDTH), number(view, directory, HEIGHT)
    check_dimensions(width, height, limits)
    compression = number(view, directory, COMPRESSION, 1)
    if compression not in _BEST_RATIO:
        method = _OTHER_METHODS.get(compression, f"unknown (number {compression})")
        raise UnsupportedFormat(f"a TIFF with {method} compression; save it with LZW, deflate or no compression")
    samples, bits, photometric, has_alpha = _sample_types(view, directory)
    planes = samples if number(view, directory, PLANAR, 1) == 2 else 1
    parts, area = _parts(view, directory, width, height, planes)
    _check_data(view, directory, parts, area * samples * bits // 8, compression)
    orientation = number(view, directory, ORIENTATION, 1)
    orientation = orientation if 1 <= orientation <= 8 else 1
    is_premultiplied = has_alpha and values(view, directory, EXTRA, 16)[:1] == (_ASSOCIATED,)
    return Page(directory, width, height, orientation, bits, photometric, samples, has_alpha, is_premultiplied, planes)


def _sample_types(view: memoryview, directory: Directory) -> tuple[int, int, int, bool]:
    """Return samples for each pixel, bits for each sample, the kind of color, and whether there is alpha."""
    samples = number(view, directory, SAMPLES, 1)
    bits = set(values(view, directory, BITS, 16) or (1,))
    photometric = number(view, directory, PHOTOMETRIC, _GRAY)
    extra = values(view, directory, EXTRA, 16)
    if photometric not in _COLORS:
        raise UnsupportedFormat("a TIFF in another color space than gray, RGB, palette or CMYK; save it as RGB")
    if set(values(view, directory, FORMAT, 16) or (1,)) != {1} or len(bits) != 1 or not bits <= {1, 2, 4, 8, 16}:
        raise UnsupportedFormat("a TIFF with samples of other types than 1 to 16 bits; save it with 8 or 16 bits")
    if not 1 <= samples <= 6 or samples < _COLORS[photometric]:
        raise UnsupportedFormat(f"a TIFF with {samples} samples for each pixel; save it as gray, RGB or CMYK")
    has_alpha = photometric != _CMYK and samples > _COLORS[photometric] and (not extra or extra[0] in (1, 2, 999))
    return samples, bits.pop(), photometric, has_alpha


def _parts(view: memoryview, directory: Directory, width: int, height: int, planes: int) -> tuple[int, int]:
    """Return the number of strips or tiles and the pixels of all of them in one plane."""
    if TILES not in directory.entries:
        rows = min(number(view, directory, STRIP_ROWS, height), height)
        if rows < 1:
            raise CorruptImage("The TIFF has strips without rows")
        return -(-height // rows) * planes, width * height
    across, down = number(view, directory, TILE_WIDTH), number(view, directory, TILE_HEIGHT)
    if across < 1 or down < 1 or across % 16 or down % 16:
        raise CorruptImage("The TIFF has tiles of an invalid size")
    count = -(-width // across) * -(-height // down)
    area = count * across * down
    if area > _PADDING_FACTOR * width * height + _PADDING_PIXELS:
        raise SuspiciousStructure("The TIFF has tiles that are far larger than the image")
    return count * planes, area


def _check_data(view: memoryview, directory: Directory, parts: int, inflated: int, compression: int) -> None:
    """Check that each strip or tile has its own data within the file, and that all have enough for the image."""
    if parts > _MAX_PARTS:
        raise SuspiciousStructure(f"The TIFF has more than {_MAX_PARTS} strips or tiles")
    tiled = TILES in directory.entries
    starts = values(view, directory, TILES if tiled else STRIPS, _MAX_PARTS)
    lengths = values(view, directory, TILE_BYTES if tiled else STRIP_BYTES, _MAX_PARTS)
    if not lengths and len(starts) == 1 and compression == 1:
        lengths = (inflated,)
    if len(starts) != parts or len(lengths) != parts:
        raise CorruptImage("The TIFF has another number of strips or tiles than its size needs")
    if any(start < 8 or start + length > len(view) for start, length in zip(starts, lengths, strict=True)):
        raise CorruptImage("The TIFF is truncated: its image data ends after the file")
    total = sum(lengths)
    if total > len(view):
        raise SuspiciousStructure("The TIFF uses the same data for several strips or tiles")
    if inflated > total * _BEST_RATIO[compression] + 7 * parts:
        raise CorruptImage("The TIFF contains too little data for the size in its header")


def first_page_only(view: memoryview, page: Page) -> bytes:
    """Return the file with a new directory that has only the tags of the interleaved pixels, and no next directory.

    The decoder never sees other tags, other pages or loops between directories. The offsets of the data stay valid,
    because the directory is appended. Samples are described in the way that Pillow reads.
    """
    replaced: dict[int, tuple[int, ...]] = {PLANAR: (1,)}
    if page.is_cmyk and page.samples > _COLORS[_CMYK]:
        replaced[EXTRA] = (_UNSPECIFIED,) * (page.samples - _COLORS[_CMYK])
    elif page.is_premultiplied_gray:
        replaced[EXTRA] = (_UNASSOCIATED,)
    if page.is_inverted_gray_16:
        replaced[PHOTOMETRIC] = (_GRAY,)
    return _with_directory(view, page, page.directory.entries, replaced)


def plane_only(view: memoryview, page: Page, plane: int) -> bytes:
    """Return the file with a new directory that describes one plane as a gray image, or as the image's palette."""
    entries = dict(page.directory.entries)
    for tag in (STRIPS, STRIP_BYTES, TILES, TILE_BYTES):
        if (entry := entries.get(tag)) is not None:
            length, size = entry.length // page.planes, (entry.end - entry.start) // page.planes
            start = entry.start + plane * size
            entries[tag] = entry._replace(length=length, start=start, end=start + size)
    for tag in (EXTRA, FORMAT):
        entries.pop(tag, None)
    kind = _PALETTE if page.is_palette and plane == 0 else _GRAY
    replaced: dict[int, tuple[int, ...]] = {BITS: (page.bits,), SAMPLES: (1,), PLANAR: (1,), PHOTOMETRIC: (kind,)}
    return _with_directory(view, page, entries, replaced)


def _with_directory(
    view: memoryview, page: Page, entries: dict[int, Entry], replaced: dict[int, tuple[int, ...]]
) -> bytes:
    """Return the file with a new directory of ``entries``; ``replaced`` has one or two values for some tags."""
    order = page.directory.order
    out = bytearray(view)
    out += bytes(-len(out) % 2)
    struct.pack_into(f"{order}I", out, 4, len(out))
    copied = [tag for tag in sorted(_COPIED) if tag in entries or tag in replaced]
    out += struct.pack(f"{order}H", len(copied))
    for tag in copied:
        if found := replaced.get(tag):
            out += struct.pack(f"{order}HHI", tag, _SHORT, len(found))
            out += struct.pack(f"{order}{len(found)}H", *found).ljust(4, b"\x00")
            continue
        entry = entries[tag]
        out += struct.pack(f"{order}HHI", tag, entry.kind, entry.length)
        size = entry.end - entry.start
        out += (
            bytes(view[entry.start : entry.end]).ljust(4, b"\x00")
            if size <= 4
            else struct.pack(f"{order}I", entry.start)
        )
    out += bytes(4)
    return bytes(out)
