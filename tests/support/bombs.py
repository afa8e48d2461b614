"""Small files that are expensive for a careless decoder. Each function returns the bytes of one file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

from tests.support import heif_files, samples

MIB = 1 << 20


def jpeg_scan_bomb(scans: int = 1000, side: int = 4096) -> bytes:
    """Return a valid progressive JPEG that repeats its last refinement scan. Each scan is one pass over the image."""
    data = samples.jpeg(np.full((side, side), 128, np.uint8), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + b"\xff\xd9"


def jpeg_scan_bomb_behind_comment(scans: int = 1000) -> bytes:
    """Return a scan bomb with an end-of-image marker in a comment, where a naive scan counter stops."""
    data = samples.jpeg(np.full((256, 256), 128, np.uint8), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + b"\xff\xfe\x00\x04\xff\xd9" + data[last:-2] * scans + b"\xff\xd9"


def jpeg_segment_flood(size: int = 10 * MIB) -> bytes:
    """Return a JPEG full of empty comments."""
    data = samples.jpeg(np.zeros((8, 8, 3), np.uint8))
    return data[:2] + b"\xff\xfe\x00\x02" * (size // 4) + data[2:]


def jpeg_fill_flood(size: int = 10 * MIB) -> bytes:
    """Return a JPEG with fill bytes before its first segment."""
    data = samples.jpeg(np.zeros((8, 8, 3), np.uint8))
    return data[:2] + b"\xff" * size + data[2:]


def jpeg_stuffing_flood(size: int = 20 * MIB) -> bytes:
    """Return a JPEG with entropy-coded data of stuffed bytes only: every second byte resembles a marker."""
    data = samples.jpeg(np.zeros((8, 8, 3), np.uint8))
    return data[:-2] + b"\xff\x00" * (size // 2) + b"\xff\xd9"


def jpeg_two_frames() -> bytes:
    """Return a JPEG with a second frame header. Its size differs from the size that was checked."""
    data = samples.jpeg(np.zeros((8, 8, 3), np.uint8))
    at = data.index(b"\xff\xc0")
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    frame = bytearray(data[at : at + 2 + length])
    frame[5:9] = struct.pack(">HH", 60_000, 60_000)
    return data[:at] + data[at : at + 2 + length] + bytes(frame) + data[at + 2 + length :]


def jpeg_huge_claim() -> bytes:
    data = bytearray(samples.jpeg(np.zeros((8, 8, 3), np.uint8)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65_535, 65_535)
    return bytes(data)


def _png(width: int, height: int, data_chunks: list[bytes], before: bytes = b"") -> bytes:
    ihdr = samples.png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = b"".join(samples.png_chunk(b"IDAT", part) for part in data_chunks)
    return b"\x89PNG\r\n\x1a\n" + ihdr + before + body + samples.png_chunk(b"IEND", b"")


def png_huge_claim(side: int = 65_535) -> bytes:
    return _png(side, side, [zlib.compress(bytes(100))])


def png_empty_promise(side: int = 7000) -> bytes:
    """Return a PNG within every limit that has only a few bytes of data for 147 MB of pixels."""
    return _png(side, side, [zlib.compress(bytes(100))])


def png_chunk_flood(size: int = 10 * MIB) -> bytes:
    """Return a PNG full of empty text chunks."""
    chunk = samples.png_chunk(b"tEXt", b"")
    return _png(1, 1, [zlib.compress(bytes(4))], before=chunk * (size // len(chunk)))


def png_splinters(side: int = 1024, part: int = 4) -> bytes:
    """Return a PNG with its image data in chunks of ``part`` bytes."""
    noise = np.random.default_rng(0).integers(0, 256, (side, 3 * side), np.uint8)
    packed = zlib.compress(np.pad(noise, ((0, 0), (1, 0))).tobytes(), 1)
    return _png(side, side, [packed[at : at + part] for at in range(0, len(packed), part)])


def png_data_bomb(size: int = 512 * MIB) -> bytes:
    """Return a PNG of one pixel without IEND, with image data that inflates to ``size`` bytes."""
    return _png(1, 1, [_zeros(size)])[:-12]


def png_text_bomb(size: int = 512 * MIB) -> bytes:
    """Return a PNG with a compressed text chunk that inflates to ``size`` bytes."""
    return _png(1, 1, [zlib.compress(bytes(4))], before=samples.png_chunk(b"zTXt", b"k\x00\x00" + _zeros(size)))


def png_text_flood(count: int = 900, size: int = 7_900_000) -> bytes:
    """Return a PNG with many compressed text chunks. Each is smaller than the size that libpng refuses."""
    chunk = samples.png_chunk(b"zTXt", b"k\x00\x00" + zlib.compress(bytes(size), 9))
    return _png(1, 1, [zlib.compress(bytes(4))], before=chunk * count)


def png_profile_bomb(size: int = 512 * MIB) -> bytes:
    """Return a PNG with a color profile that inflates to ``size`` bytes."""
    return _png(1, 1, [zlib.compress(bytes(4))], before=samples.png_chunk(b"iCCP", b"k\x00\x00" + _zeros(size)))


def webp_chunk_flood(size: int = 10 * MIB) -> bytes:
    image = samples.webp(np.zeros((8, 8, 3), np.uint8))[12:]
    body = b"WEBP" + image + b"JUNK\x00\x00\x00\x00" * (size // 8)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_huge_claim() -> bytes:
    canvas = (16_777_215).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_lying() -> bytes:
    """Return a WebP with a canvas within the limits and a frame of another size."""
    image = samples.webp(np.zeros((8, 8, 3), np.uint8))[12:]
    side = (7000).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + bytes(4) + side + side + image
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif_block_flood(size: int = 10 * MIB) -> bytes:
    """Return a GIF full of empty comments before its first frame."""
    data, at = _gif()
    return data[:at] + b"!\xfe\x00" * (size // 3) + data[at:]


def gif_splinters(size: int = 10 * MIB) -> bytes:
    """Return a GIF with its comment in blocks of one byte."""
    data, at = _gif()
    return data[:at] + b"!\xfe" + b"\x01a" * (size // 2) + b"\x00" + data[at:]


def gif_empty_promise() -> bytes:
    data, at = _gif()
    return data[: at + 5] + struct.pack("<HH", 7000, 7000) + data[at + 9 :]


def gif_huge_claim() -> bytes:
    data, at = _gif()
    return data[: at + 5] + struct.pack("<HH", 65_535, 65_535) + data[at + 9 :]


def gif_frame_flood(size: int = 10 * MIB) -> bytes:
    """Return a GIF with millions of frames of 65,535 x 65,535 pixels after the first one."""
    frame = b",\x00\x00\x00\x00\xff\xff\xff\xff\x00\x08\x00"
    return _gif()[0][:-1] + frame * (size // len(frame))


def _gif() -> tuple[bytes, int]:
    """Return a GIF of 8 x 8 pixels and the offset of its first frame."""
    data = samples.saved(Image.fromarray(np.zeros((8, 8), np.uint8)), "GIF")
    return data, data.index(b",\x00\x00\x00\x00")


def bmp_huge_claim() -> bytes:
    data = bytearray(samples.saved(Image.fromarray(np.zeros((8, 8, 3), np.uint8)), "BMP"))
    data[18:26] = struct.pack("<ii", 65_535, 65_535)
    return bytes(data)


def bmp_empty_promise() -> bytes:
    data = bytearray(samples.saved(Image.fromarray(np.zeros((8, 8, 3), np.uint8)), "BMP"))
    data[18:26] = struct.pack("<ii", 7000, 7000)
    return bytes(data)


def tiff_entry_flood() -> bytes:
    return b"II*\x00" + struct.pack("<IH", 8, 65_535) + bytes(12 * 65_535)


def tiff_empty_promise(side: int = 7000) -> bytes:
    """Return a deflated TIFF with a few bytes of data for 147 MB of pixels."""
    return _tiff([(256, side), (257, side), (259, 8), (262, 2), (277, 3), (278, side), (273, 8), (279, 200)])


def tiff_giant_tiles() -> bytes:
    tile = 1 << 20
    return _tiff([(256, 8), (257, 8), (259, 5), (262, 1), (322, tile), (323, tile), (324, 8), (325, 200)])


def tiff_shared_strips(count: int = 16_000, size: int = 10 * MIB) -> bytes:
    """Return a TIFF with strips that each name almost the whole file as their data."""
    start = 8 + size
    values = struct.pack("<I", 8) * count + struct.pack("<I", size) * count
    entries = [(256, 8, 1), (257, count, 1), (258, 8, 1), (259, 5, 1), (262, 1, 1), (278, 1, 1)]
    entries += [(273, start, count), (279, start + 4 * count, count)]
    head = b"II*\x00" + struct.pack("<I", start + len(values)) + bytes(size) + values
    table = b"".join(struct.pack("<HHII", tag, 4, number, value) for tag, value, number in sorted(entries))
    return head + struct.pack("<H", len(entries)) + table + bytes(4)


def tiff_directory_loop() -> bytes:
    """Return a TIFF with a first directory that names itself as the next one."""
    data = bytearray(samples.saved(Image.fromarray(np.zeros((8, 8, 3), np.uint8)), "TIFF"))
    (start,) = struct.unpack_from("<I", data, 4)
    struct.pack_into("<I", data, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], start)
    return bytes(data)


def _tiff(entries: list[tuple[int, int]]) -> bytes:
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted([*entries, (258, 8)]))
    return b"II*\x00" + struct.pack("<I", 208) + bytes(200) + struct.pack("<H", len(entries) + 1) + table + bytes(4)


def avif_item_flood(count: int = 3000) -> bytes:
    file = heif_files.File(brand=b"avif")
    file.items = [(b"av01", b"", [])] * count
    return file.build()


def avif_box_flood(size: int = 10 * MIB) -> bytes:
    """Return an AVIF with empty boxes before its items."""
    data = _avif()
    (head,) = struct.unpack_from(">I", data, 0)
    return data[:head] + b"\x00\x00\x00\x08free" * (size // 8) + data[head:]


def avif_lying(side: int = 7000) -> bytes:
    """Return an AVIF that declares another size than its image data has."""
    data = _avif()
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", side, side) + data[at + 8 :]


def avif_huge_claim() -> bytes:
    return avif_lying(65_535)


def avif_many_tiles() -> bytes:
    """Return an AVIF with a grid of 256 x 256 times the same tile."""
    file = heif_files.File(brand=b"avif")
    grid = file.add(b"grid", heif_files.grid_data(256, 256, 16, 16), heif_files.ispe(16, 16))
    tile = file.add(b"av01", b"", heif_files.ispe(16, 16))
    file.refer(b"dimg", grid, *[tile] * 65_535)
    return file.build()


def _avif() -> bytes:
    return samples.saved(Image.fromarray(np.zeros((8, 8, 3), np.uint8)), "AVIF", speed=10)


def exif_directory_bomb() -> bytes:
    """Return a JPEG with an EXIF directory that claims 65,535 entries and points at itself."""
    data = samples.jpeg(np.zeros((8, 8, 3), np.uint8))
    tiff = b"II*\x00" + struct.pack("<IH", 8, 65_535) + struct.pack("<HHII", 0x010F, 4, 1, 8) * 5000
    segment = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\x00\x00" + tiff
    return data[:2] + segment + data[2:]


@cache
def _zeros(size: int) -> bytes:
    deflater = zlib.compressobj(9)
    block = bytes(MIB)
    return b"".join(deflater.compress(block) for _ in range(size // MIB)) + deflater.flush()


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "jpeg scans": (jpeg_scan_bomb, "suspicious_structure"),
    "jpeg scans behind a comment": (jpeg_scan_bomb_behind_comment, "suspicious_structure"),
    "jpeg segments": (jpeg_segment_flood, "suspicious_structure"),
    "jpeg fill bytes": (jpeg_fill_flood, "suspicious_structure"),
    "jpeg two frames": (jpeg_two_frames, "suspicious_structure"),
    "jpeg 65535 x 65535": (jpeg_huge_claim, "too_many_pixels"),
    "png 65535 x 65535": (png_huge_claim, "too_many_pixels"),
    "png empty promise": (png_empty_promise, "corrupt_image"),
    "png chunks": (png_chunk_flood, "suspicious_structure"),
    "png splinters": (png_splinters, "suspicious_structure"),
    "webp chunks": (webp_chunk_flood, "suspicious_structure"),
    "webp 16777216 x 16777216": (webp_huge_claim, "too_many_pixels"),
    "webp lying canvas": (webp_lying, "corrupt_image"),
    "gif blocks": (gif_block_flood, "suspicious_structure"),
    "gif splinters": (gif_splinters, "suspicious_structure"),
    "gif empty promise": (gif_empty_promise, "corrupt_image"),
    "gif 65535 x 65535": (gif_huge_claim, "too_many_pixels"),
    "bmp 65535 x 65535": (bmp_huge_claim, "too_many_pixels"),
    "bmp empty promise": (bmp_empty_promise, "corrupt_image"),
    "tiff entries": (tiff_entry_flood, "suspicious_structure"),
    "tiff empty promise": (tiff_empty_promise, "corrupt_image"),
    "tiff giant tiles": (tiff_giant_tiles, "suspicious_structure"),
    "tiff shared strips": (tiff_shared_strips, "suspicious_structure"),
    "avif items": (avif_item_flood, "suspicious_structure"),
    "avif boxes": (avif_box_flood, "suspicious_structure"),
    "avif lying size": (avif_lying, "suspicious_structure"),
    "avif 65535 x 65535": (avif_huge_claim, "too_many_pixels"),
    "avif 65,536 tiles": (avif_many_tiles, "suspicious_structure"),
}
"""Files that ``probe`` refuses, by name: (function, ``reason`` of the error)."""

HARMLESS: dict[str, Callable[[], bytes]] = {
    "jpeg stuffed bytes": jpeg_stuffing_flood,
    "png text inflating to 512 MiB": png_text_bomb,
    "png 900 texts inflating to 8 MB each": png_text_flood,
    "png profile inflating to 512 MiB": png_profile_bomb,
    "png data inflating to 512 MiB, without IEND": png_data_bomb,
    "exif directory": exif_directory_bomb,
    "gif frames": gif_frame_flood,
    "tiff directory loop": tiff_directory_loop,
}
"""Files that decode at the cost of their small image, because nothing reads the expensive part."""
