"""The input of the HEVC decoder's process: parameter sets and slices of each tile, the places of planes, and limits."""

from __future__ import annotations

import itertools
import mmap
import operator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from clearcut.errors import CorruptImage, SuspiciousStructure, UnsupportedFormat

from . import hevc
from .boxes import Box, Item
from .hevc_process import protocol
from .hevc_process.protocol import CodedImage, Target
from .images import SHARED_BYTES, StillImage, data_of, declared_size, grid_of, property_of, tiles_of
from .ycbcr import Planes

_BASE_MEMORY, _MEMORY_PER_PIXEL = 64 << 20, 24
"""Address space for decoding: a constant, and bytes for each pixel of the largest tile."""
_BASE_CPU_S, _PIXELS_PER_CPU_S = 5, 4_000_000
"""CPU time for decoding: a constant, and a rate that is a tenth of the measured one, or a fifth where an image is
decoded twice."""
_MAX_SLICE_BYTES = 1_500_000_000
"""Maximum decoded bytes of all slices together, if each slice covers its whole image, such as 20 slices at 49
megapixels with 8 bits. Slices can overlap, so each one can take as long as the image. Encoders of photos write one
slice, or one for each row of blocks."""
_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class _Canvas:
    """One image in the output of the process: all its tiles together."""

    width: int
    height: int
    chroma: int
    bits: int
    start: int

    @property
    def sample(self) -> int:
        return 1 if self.bits == 8 else 2

    @property
    def planes(self) -> list[tuple[int, int, int]]:
        """(offset, width, height) of each plane."""
        found, offset = [], self.start
        for width, height in protocol.plane_sizes(self.width, self.height, self.chroma):
            found.append((offset, width, height))
            offset += -(-width * height * self.sample // _ALIGNMENT) * _ALIGNMENT
        return [*found, (offset, 0, 0)]

    @property
    def end(self) -> int:
        return self.planes[-1][0]

    def targets(self, left: int, top: int) -> tuple[Target, Target, Target]:
        """Return where a tile at this pixel goes."""
        across, down = protocol.subsampling(self.chroma)
        found = []
        for number, (offset, width, _) in enumerate(self.planes[:-1]):
            x, y = (left // across, top // down) if number else (left, top)
            found.append(Target(offset + (y * width + x) * self.sample, width * self.sample))
        luma, cb, cr = (*found, *[Target(0, 0)] * (3 - len(found)))
        return luma, cb, cr

    def read(self, out: mmap.mmap, width: int, height: int) -> Planes:
        """Return the planes of the visible part at the top left, in the memory of ``out``."""
        kind = np.uint8 if self.bits == 8 else np.dtype("<u2")
        across, down = protocol.subsampling(self.chroma)
        arrays: list[Any] = []
        for number, (offset, stored, rows) in enumerate(self.planes[:-1]):
            plane = np.frombuffer(out, kind, stored * rows, offset).reshape(rows, stored)
            visible = (-(-height // down), -(-width // across)) if number else (height, width)
            arrays.append(plane[: visible[0], : visible[1]])
        return Planes(arrays[0], (arrays[1], arrays[2]) if self.chroma else None, self.bits)


class _Stream(NamedTuple):
    """Parameter sets and slices of a coded image, with start codes."""

    data: bytes
    slices: int


class _Tile(NamedTuple):
    """One tile and the stream that it shares with equal tiles."""

    key: int
    """Key of the stream in ``_Streams``."""
    image: CodedImage
    """Without offset and size of the data, which ``prepare`` adds."""


class _Streams:
    """The streams of all tiles.

    Each stream has a copy of its parameter sets, so the streams of a small file could be large.
    """

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._bytes_left = len(view) + SHARED_BYTES
        self._configurations: dict[Box, hevc.Configuration] = {}
        self.found: dict[int, _Stream] = {}

    def add(self, tile: Item) -> tuple[int, hevc.Sequence]:
        """Return the key of a tile's stream and the samples of the tile.

        Raises:
            CorruptImage: the tile has no configuration.
            SuspiciousStructure: the streams are far larger than the file.
        """
        box = property_of(tile, b"hvcC")
        if box is None:
            raise CorruptImage("The HEIC has no decoder configuration")
        configuration = self._configurations.get(box)
        if configuration is None:
            configuration = hevc.read_configuration(self._view[box.start : box.end])
            self._configurations[box] = configuration
        key = id(tile)
        if key not in self.found:
            self.found[key] = _Stream(*hevc.annex_b(configuration, data_of(self._view, tile)))
            self._bytes_left -= len(self.found[key].data)
            if self._bytes_left < 0:
                raise SuspiciousStructure("The HEIC uses long parameter sets for too many tiles")
        return key, configuration.sequences[0]


class DecoderJob(NamedTuple):
    """Input and limits of the process."""

    source: bytes
    """The input, as ``protocol`` describes it."""
    canvases: tuple[_Canvas, ...]
    """The image, and its alpha if it has one."""
    memory: int
    """Bytes of address space for decoding."""
    cpu_s: int


def prepare(view: memoryview, image: StillImage) -> DecoderJob:
    """Collect the coded images of a file and lay out their planes.

    Raises:
        CorruptImage, UnsupportedFormat: a tile has no configuration, or another one than the others.
        SuspiciousStructure: large images with many slices, or many tiles with long parameter sets.
    """
    canvases: list[_Canvas] = []
    tiles: list[_Tile] = []
    streams = _Streams(view)
    for root in [image.main] + ([image.table.items[image.alpha]] if image.alpha is not None else []):
        start = canvases[-1].end if canvases else protocol.HEADER_BYTES
        canvas, found = _lay_out(view, image, root, start, streams)
        canvases.append(canvas)
        tiles += found
    areas = [tile.image.width * tile.image.height for tile in tiles]
    slices = [streams.found[tile.key].slices for tile in tiles]
    decoded = [_decoded_bytes(tile.image) for tile in tiles]
    if max(slices) > 1 and sum(map(operator.mul, decoded, slices)) > _MAX_SLICE_BYTES:
        raise SuspiciousStructure("The HEIC has too many slices for its size")
    sizes = {key: len(stream.data) for key, stream in streams.found.items()}
    first = protocol.head_bytes(len(tiles))
    offsets = dict(zip(sizes, itertools.accumulate(sizes.values(), initial=first), strict=False))
    table = [image._replace(offset=offsets[key], size=sizes[key]).pack() for key, image in tiles]
    return DecoderJob(
        b"".join([protocol.COUNT.pack(len(tiles)), *table, *(stream.data for stream in streams.found.values())]),
        tuple(canvases),
        _BASE_MEMORY + _MEMORY_PER_PIXEL * max(areas) + 2 * max(sizes.values()),
        _BASE_CPU_S + sum(areas) // _PIXELS_PER_CPU_S,
    )


def _decoded_bytes(image: CodedImage) -> int:
    """Return the size of the planes, twice for a gray image: with black parts it is decoded twice."""
    samples = sum(width * height for width, height in protocol.plane_sizes(image.width, image.height, image.chroma))
    return samples * (1 if image.bits == 8 else 2) * (1 if image.chroma else 2)


def _lay_out(
    view: memoryview, image: StillImage, root: Item, start: int, streams: _Streams
) -> tuple[_Canvas, list[_Tile]]:
    """Return the canvas of an image and its tiles, and add their streams."""
    rows, columns = grid_of(view, root)
    tiles = tiles_of(image.table, root)
    width, height = declared_size(view, tiles[0])
    found = [streams.add(tile) for tile in tiles]
    kinds = {(sequence.chroma, sequence.bits) for _, sequence in found}
    if len(kinds) > 1:
        raise UnsupportedFormat("HEIC with tiles that differ in their samples; save it as JPEG")
    canvas = _Canvas(width * columns, height * rows, *kinds.pop(), start)
    placed = []
    for number, (key, _) in enumerate(found):
        targets = canvas.targets(number % columns * width, number // columns * height)
        placed.append(_Tile(key, CodedImage(0, 0, width, height, canvas.chroma, canvas.bits, targets)))
    return canvas, placed
