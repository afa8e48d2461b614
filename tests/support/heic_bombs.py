"""Small HEIC files that are expensive for a careless reader. Each function returns the bytes of one file."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from tests.support import heif_files, hevc_expanding, hevc_images, samples
from tests.support.heif_files import File, full, grid_data, ispe, nclx
from tests.support.hevc_images import CodedImage

MIB = 1 << 20
SIDE = 6976
"""A side in pixels: 48.7 megapixels are within the default limit."""
TILE = hevc_expanding.SIDE


def single(image: CodedImage, *properties: bytes) -> bytes:
    file = File()
    file.add_image(image, *(properties or (nclx(),)))
    return file.build()


def small() -> CodedImage:
    return hevc_images.encode(hevc_images.from_rgb(samples.corners()))


def grid(
    rows: int, columns: int, width: int, height: int, tile: CodedImage, references: int = -1, body: bytes = b""
) -> bytes:
    """Return a grid that names one tile ``references`` times.

    Args:
        body: the grid's descriptor, if it differs from the other arguments.
    """
    file = File()
    main = file.add(b"grid", body or grid_data(rows, columns, width, height), ispe(width, height), nclx())
    number = file.add_image(tile, nclx())
    file.refer(b"dimg", main, *[number] * (rows * columns if references < 0 else references))
    return file.build()


def many_tiles() -> bytes:
    """Return a grid of 256 x 256 tiles."""
    return grid(256, 256, 16, 16, hevc_expanding.gray(TILE, TILE), references=65_535)


def grid_outside_its_area() -> bytes:
    return grid(30, 30, TILE, TILE, hevc_expanding.gray(TILE, TILE))


def grid_without_tiles() -> bytes:
    return grid(100, 100, 6400, 6400, hevc_expanding.gray(TILE, TILE), references=10)


def grid_of_another_size() -> bytes:
    return grid(2, 2, 2 * TILE, 2 * TILE, hevc_expanding.gray(TILE, TILE), body=grid_data(2, 2, 65_535, 65_535))


def huge_grid() -> bytes:
    return grid(30, 30, 65_535, 65_535, hevc_expanding.gray(TILE, TILE), references=900)


def giant_tile() -> bytes:
    """Return an image of 16 x 16 pixels with a tile of 48.7 megapixels."""
    return grid(1, 1, 16, 16, hevc_expanding.gray(SIDE, SIDE))


def loop_of_grids() -> bytes:
    file = File()
    first = file.add(b"grid", grid_data(1, 1, 64, 64), ispe(64, 64))
    second = file.add(b"grid", grid_data(1, 1, 64, 64), ispe(64, 64))
    file.refer(b"dimg", first, second)
    file.refer(b"dimg", second, first)
    return file.build()


def alpha_of_itself() -> bytes:
    file = File()
    main = file.add_image(small(), nclx(), full(b"auxC", heif_files.ALPHA))
    file.refer(b"auxl", main, main)
    return file.build()


def reference_flood() -> bytes:
    """Return a file with millions of references of items that do not exist."""
    file = File()
    file.add_image(small(), nclx())
    file.references += [(b"cdsc", 999, [1] * 1000)] * 7900
    return file.build()


def item_flood() -> bytes:
    file = File()
    file.add_image(small(), nclx())
    file.items += [(b"hvc1", b"", [])] * 3000
    return file.build()


def property_flood() -> bytes:
    """Return an image with 255 properties."""
    file = File()
    file.add_image(small(), *[nclx(primary) for primary in range(250)])
    return file.build()


def association_flood() -> bytes:
    """Return a file with millions of properties of items that do not exist."""
    data = single(small())
    entries = struct.pack(">HB", 999, 255) + b"\x80\x01" * 255
    table = full(b"ipma", struct.pack(">I", 15_000) + entries * 15_000, flags=1)
    return _inserted(data, b"iprp", table, inside=True)


def extent_flood() -> bytes:
    """Return a file with 65,535 parts of one image's data."""
    parts = b"".join(struct.pack(">II", 8 + number, 1) for number in range(65_535))
    return _with_locations(struct.pack(">BBH", 0x44, 0, 1) + struct.pack(">HHH", 1, 0, 65_535) + parts)


def location_flood() -> bytes:
    return _with_locations(struct.pack(">BBH", 0x44, 0, 65_535) + struct.pack(">HHH", 999, 0, 0) * 65_535)


def overlapping_extents() -> bytes:
    """Return an image with its data given 1,000 times."""
    parts = struct.pack(">II", 0, 400) * 1000
    return _with_locations(struct.pack(">BBH", 0x44, 0, 1) + struct.pack(">HHH", 1, 0, 1000) + parts)


def looping_locations() -> bytes:
    """Return an image with data in the data of another item (construction method 2), which is itself."""
    return _with_locations(struct.pack(">BBH", 0x44, 0, 1) + struct.pack(">HHHHII", 1, 2, 0, 1, 0, 0), version=1)


def location_beyond_the_file() -> bytes:
    return _with_locations(struct.pack(">BBH", 0x88, 0, 1) + struct.pack(">HHHQQ", 1, 0, 1, 2**64 - 8, 2**64 - 8))


def tiles_of_the_same_data(size: int = 2 * MIB) -> bytes:
    """Return 900 tiles that each have the same unit of 2 MiB as their data."""
    tile = hevc_expanding.gray(TILE, TILE, body=_noise(size))
    file = File()
    main = file.add(b"grid", grid_data(30, 30, 30 * TILE, 30 * TILE), ispe(30 * TILE, 30 * TILE), nclx())
    first = file.add_image(tile, nclx())
    others = [file.add_image(CodedImage(tile.configuration, b"", TILE, TILE, TILE, TILE), nclx()) for _ in range(899)]
    file.refer(b"dimg", main, first, *others)
    data = bytearray(file.build())
    table = data.index(b"iloc") + 12
    offset, length = struct.unpack_from(">II", data, table + 14 + 6)
    for number in range(899):
        struct.pack_into(">II", data, table + 14 * (number + 2) + 6, offset, length)
    return bytes(data)


def lying_size() -> bytes:
    """Return an image that declares 6976 x 6976 pixels, with data of 48 x 32."""
    data = single(small())
    return data.replace(ispe(48, 32), ispe(SIDE, SIDE))


def lying_data() -> bytes:
    """Return an image that declares 48 x 32 pixels, with data of 16384 x 3008."""
    return single(hevc_images.encode(hevc_images.from_rgb(samples.corners()), coded_size=(16_384, 3008)))


def long_parameter_set() -> bytes:
    return _with_sets(1, b"\xff\xff" + b"\x42\x01" + bytes(range(1, 200)) * 330)


def endless_parameter_sets() -> bytes:
    return _with_sets(65_535, b"\x00\x00" * 65_535)


def unit_of_4_gib() -> bytes:
    image = small()
    return single(CodedImage(image.configuration, b"\xff\xff\xff\xff" + image.data[4:], 48, 32, 48, 32))


def unit_flood(count: int = 3_000_000) -> bytes:
    image = small()
    return single(CodedImage(image.configuration, b"\x00\x00\x00\x02\x4e\x01" * count, 48, 32, 48, 32))


def slice_flood() -> bytes:
    """Return 48.7 megapixels with 900 slices that each contain the whole image."""
    return single(hevc_expanding.gray(SIDE, SIDE, slices=900))


def deep_slice_flood() -> bytes:
    """Return 48.7 megapixels of YCbCr 4:4:4 with 12 bits and one slice more than permitted."""
    return single(hevc_expanding.gray(SIDE, SIDE, chroma=3, bits=12, slices=6))


def box_flood(size: int = 10 * MIB) -> bytes:
    """Return a file with empty boxes before its items."""
    return _after_head(b"\x00\x00\x00\x08free" * (size // 8))


def deep_boxes(depth: int = 100_000) -> bytes:
    """Return a file with boxes within boxes, where the items belong."""
    sizes = range(8 * depth, 0, -8)
    return _after_head(b"".join(struct.pack(">I4s", size, b"meta") for size in sizes))


def deep_unused_boxes(depth: int = 100_000) -> bytes:
    """Return a complete file with boxes within boxes that no reader needs."""
    return _after_head(b"".join(struct.pack(">I4s", size, b"free") for size in range(8 * depth, 0, -8)))


def box_of_8_eib() -> bytes:
    return _after_head(struct.pack(">I4sQ", 1, b"free", 2**63))


def truncated() -> bytes:
    data = single(hevc_expanding.gray(SIDE, SIDE))
    return data[: len(data) - 1000]


def noise() -> bytes:
    """Return 48.7 megapixels with noise as data."""
    return single(hevc_expanding.gray(SIDE, SIDE, slices=20, body=_noise(20_000)))


def first_slice_missing() -> bytes:
    image = hevc_expanding.gray(SIDE, SIDE, slices=2)
    first = 4 + int.from_bytes(image.data[:4], "big")
    return single(CodedImage(image.configuration, image.data[first:], SIDE, SIDE, SIDE, SIDE))


def unknown_parameter_set() -> bytes:
    """Return an image with slices that name a picture parameter set of another sequence."""
    image = hevc_expanding.gray(SIDE, SIDE)
    return single(
        CodedImage(image.configuration.replace(b"\x44\x01\xc0", b"\x44\x01\xa0"), image.data, SIDE, SIDE, SIDE, SIDE)
    )


def largest_color() -> bytes:
    return single(hevc_expanding.gray(SIDE, SIDE))


def most_slices() -> bytes:
    """Return 48.7 megapixels with as many slices as permitted."""
    return single(hevc_expanding.gray(SIDE, SIDE, slices=20))


def largest_deep_color() -> bytes:
    """Return 48.7 megapixels of YCbCr 4:4:4 with 12 bits, and as many slices as permitted."""
    return single(hevc_expanding.gray(SIDE, SIDE, chroma=3, bits=12, slices=5))


def largest_alpha() -> bytes:
    file = File()
    main = file.add_image(hevc_expanding.gray(SIDE, SIDE, chroma=3, bits=12), nclx())
    alpha = file.add_image(hevc_expanding.gray(SIDE, SIDE, chroma=0, bits=12), full(b"auxC", heif_files.ALPHA))
    file.refer(b"auxl", alpha, main)
    return file.build()


def largest_grid() -> bytes:
    """Return 47.8 megapixels as 729 times the same tile."""
    return grid(27, 27, 27 * 256, 27 * 256, hevc_expanding.gray(256, 256))


def largest_grid_of_small_tiles() -> bytes:
    """Return 900 different tiles."""
    file = File()
    main = file.add(b"grid", grid_data(30, 30, 30 * TILE, 30 * TILE), ispe(30 * TILE, 30 * TILE), nclx())
    tile = hevc_expanding.gray(TILE, TILE)
    file.refer(b"dimg", main, *[file.add_image(tile, nclx()) for _ in range(900)])
    return file.build()


def _noise(size: int) -> bytes:
    """Return bytes without start codes and emulation."""
    return np.random.default_rng(1).integers(1, 256, size, np.uint8).tobytes()


def _with_locations(iloc: bytes, version: int = 0) -> bytes:
    """Return a file with another table of locations."""
    data = single(small())
    at = data.index(b"iloc") - 4
    end = at + int.from_bytes(data[at : at + 4], "big")
    table = full(b"iloc", iloc, version)
    return _resized(data[:at] + table + data[end:], b"meta", len(table) - (end - at))


def _with_sets(count: int, units: bytes) -> bytes:
    """Return a file with one array of parameter sets in its configuration."""
    image = small()
    configuration = image.configuration[:22] + b"\x01" + struct.pack(">BH", 0xA1, count) + units
    return single(CodedImage(configuration, image.data, 48, 32, 48, 32))


def _inserted(data: bytes, parent: bytes, child: bytes, *, inside: bool) -> bytes:
    """Put a box at the end of another one."""
    at = data.index(parent) - 4
    end = at + int.from_bytes(data[at : at + 4], "big")
    changed = _resized(data[:end] + child + data[end:], parent, len(child))
    return _resized(changed, b"meta", len(child)) if inside else changed


def _resized(data: bytes, kind: bytes, change: int) -> bytes:
    at = data.index(kind) - 4
    size = int.from_bytes(data[at : at + 4], "big") + change
    return data[:at] + struct.pack(">I", size) + data[at + 4 :]


def _after_head(boxes: bytes) -> bytes:
    """Put boxes behind the first box; the locations follow."""
    data = bytearray(single(small()))
    at = data.index(b"iloc") + 12 + 6
    struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + len(boxes))
    (head,) = struct.unpack_from(">I", data, 0)
    return bytes(data[:head]) + boxes + bytes(data[head:])


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "heic 65,536 tiles": (many_tiles, "suspicious_structure"),
    "heic tiles outside the image": (grid_outside_its_area, "suspicious_structure"),
    "heic grid without tiles": (grid_without_tiles, "corrupt_image"),
    "heic grid of another size": (grid_of_another_size, "corrupt_image"),
    "heic grid of 65535 x 65535": (huge_grid, "too_many_pixels"),
    "heic giant tile": (giant_tile, "suspicious_structure"),
    "heic loop of grids": (loop_of_grids, "corrupt_image"),
    "heic references": (reference_flood, "suspicious_structure"),
    "heic items": (item_flood, "suspicious_structure"),
    "heic properties": (property_flood, "suspicious_structure"),
    "heic associations": (association_flood, "suspicious_structure"),
    "heic extents": (extent_flood, "suspicious_structure"),
    "heic locations": (location_flood, "suspicious_structure"),
    "heic overlapping extents": (overlapping_extents, "suspicious_structure"),
    "heic looping locations": (looping_locations, "suspicious_structure"),
    "heic location beyond the file": (location_beyond_the_file, "corrupt_image"),
    "heic tiles of the same data": (tiles_of_the_same_data, "suspicious_structure"),
    "heic lying size": (lying_size, "suspicious_structure"),
    "heic lying data": (lying_data, "suspicious_structure"),
    "heic long parameter set": (long_parameter_set, "suspicious_structure"),
    "heic endless parameter sets": (endless_parameter_sets, "corrupt_image"),
    "heic unit of 4 GiB": (unit_of_4_gib, "corrupt_image"),
    "heic units": (unit_flood, "suspicious_structure"),
    "heic boxes": (box_flood, "suspicious_structure"),
    "heic boxes in boxes": (deep_boxes, "corrupt_image"),
    "heic box of 8 EiB": (box_of_8_eib, "corrupt_image"),
    "heic truncated": (truncated, "corrupt_image"),
}
"""Files that ``probe`` refuses, by name: (function, ``reason`` of the error)."""

UNDECODABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "heic slices": (slice_flood, "suspicious_structure"),
    "heic slices, 4:4:4, 12 bits": (deep_slice_flood, "suspicious_structure"),
    "heic noise": (noise, "corrupt_image"),
    "heic without its first slice": (first_slice_missing, "corrupt_image"),
    "heic unknown parameter set": (unknown_parameter_set, "corrupt_image"),
}
"""Files with valid headers that ``decode`` refuses."""

EXPANDING: dict[str, Callable[[], bytes]] = {
    "heic of 49 MP": largest_color,
    "heic of 49 MP, 20 slices": most_slices,
    "heic of 49 MP, 4:4:4, 12 bits, 5 slices": largest_deep_color,
    "heic of 49 MP, transparent, 12 bits": largest_alpha,
    "heic of 48 MP, 729 times one tile": largest_grid,
    "heic of 900 tiles": largest_grid_of_small_tiles,
    "heic boxes in unused boxes": deep_unused_boxes,
    "heic alpha of itself": alpha_of_itself,
}
"""Valid files of a few kilobytes, up to the largest permitted sizes. They decode."""
