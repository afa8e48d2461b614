"""Spans of an image copied side by side, so that one call processes many of them.

The edge of a matte is processed in spans of strips, and every call has a fixed cost however short the span is. A tile
set copies the cells of all spans into one sheet, each with a border of neighboring cells, and their pixels into tiles
that fit the CPU cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from clearcut.imaging.types import F32, U8

from .edge_band import Span

_TILE_BYTES = 2 << 20
"""Working memory of a tile, unless one span needs more. Twice as much took a thirtieth longer at one megapixel, half
as much a fiftieth (``benchmarks/finishing_cost.py``)."""
_MAX_SPAN_PIXELS = 1 << 17
"""Pixels of a span above which it is divided."""
_LEAST_COLUMNS = 8
"""Minimum columns of cells of a divided span."""


class TileSet:
    """Spans of strips of a grid; at least one. The last strip may be lower and extend past the frame."""

    def __init__(self, spans: list[Span], step: int, size: tuple[int, int]) -> None:
        """
        Args:
            step: side of a cell in pixels.
            size: height and width of the image in pixels.
        """
        self._step, self._size = step, size
        self._rows = max(span.bottom - span.top for span in spans)
        columns = max(_LEAST_COLUMNS, _MAX_SPAN_PIXELS // (self._rows * step**2))
        self._spans = spans
        if max(span.right - span.left for span in spans) > columns:
            self._spans = [
                span._replace(left=left, right=min(left + columns, span.right))
                for span in spans
                for left in range(span.left, span.right, columns)
            ]

    def cells(self, border: int, *planes: np.ndarray, origin: tuple[int, int] = (0, 0)) -> Iterator[np.ndarray]:
        """Yield the sheet of each plane, [h,w] or [h,w,c] of cells: every span with ``border`` cells on each side.

        Outside the planes, their outermost cells are repeated.

        Args:
            origin: row and column of the planes' first cell on the grid.
        """
        rows, columns = self._rows + 2 * border, 2 * border
        top_row, left_column = origin
        below = max(0, max(span.top for span in self._spans) - top_row + self._rows - planes[0].shape[0])
        areas = [
            (slice(top - top_row, top - top_row + rows), slice(left - left_column, right - left_column + columns))
            for top, _, left, right in self._spans
        ]
        for plane in planes:
            padded = cv2.copyMakeBorder(plane, border, border + below, border, border, cv2.BORDER_REPLICATE)
            yield np.concatenate([padded[area] for area in areas], axis=1)

    def trimmed(self, border: int, *sheets: F32) -> Iterator[F32]:
        """Yield the sheets with a border of one cell instead of ``border`` cells around each span."""
        excess, start = border - 1, 0
        columns = []
        for _, _, left, right in self._spans:
            end = start + right - left + 2 * border
            columns.append(slice(start + excess, end - excess))
            start = end
        for sheet in sheets:
            inner = sheet[excess : sheet.shape[0] - excess]
            yield np.concatenate([inner[:, each] for each in columns], axis=1)

    def places(self) -> npt.NDArray[np.int64]:
        """Return the spans and the first row and column of each on a sheet with a border of one cell, i64[n,6]."""
        start, places = 0, []
        for span in self._spans:
            places.append((*span, 0, start))
            start += span.right - span.left + 2
        return np.array(places, np.int64)

    def copy(self, source: U8, target: U8) -> None:
        """Copy the pixels of the spans from one image of the set's size to another."""
        height, width = self._size
        for span in self._spans:
            area = span.scaled(self._step, height, width).area
            target[area] = source[area]

    def tiles(self, pixel_bytes: int) -> Iterator[Tile]:
        """Yield all spans in order, grouped into tiles.

        Args:
            pixel_bytes: working memory per pixel of a tile.
        """
        max_columns = _TILE_BYTES // (pixel_bytes * self._rows * self._step**2)
        first = start = end = 0
        for number, span in enumerate(self._spans):
            columns = span.right - span.left + 2
            if number > first and end - start + columns > max_columns:
                yield self._tile(first, number, start, end)
                first, start = number, end
            end += columns
        yield self._tile(first, len(self._spans), start, end)

    def _tile(self, first: int, last: int, start: int, end: int) -> Tile:
        step, (height, width) = self._step, self._size
        areas, column = [], step
        for cells in self._spans[first:last]:
            top, bottom, left, right = (side * step for side in cells)
            bottom_row, right_column = min(bottom, height), min(right, width)
            source = slice(top, bottom_row), slice(left, right_column)
            areas.append((source, (slice(bottom_row - top), slice(column, column + right_column - left))))
            column += right - left + 2 * step
        return Tile(areas, slice(start, end), self._rows, step)


@dataclass(frozen=True, slots=True)
class Tile:
    """The pixels of some spans, side by side; the pixels between the spans are undefined."""

    _areas: list[tuple[tuple[slice, slice], tuple[slice, slice]]]
    """(area in the image, area in the tile) of every span."""
    _columns: slice
    """Columns of the tile on a sheet of cells with a border of one cell around each span."""
    _rows: int
    """Height of the tile in cells."""
    _step: int

    def zoom(self, sheet: F32) -> F32:
        """Interpolate a sheet with a border of one cell to the tile's pixels: linear between cell centers."""
        size = (self._columns.stop - self._columns.start) * self._step, (self._rows + 2) * self._step
        zoomed = cv2.resize(sheet[:, self._columns], size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(zoomed[self._step : size[1] - self._step], np.float32)

    def gather(self, image: U8) -> U8:
        """Copy the tile's pixels from an image, u8[H,W] or u8[H,W,c]."""
        size = self._rows * self._step, (self._columns.stop - self._columns.start) * self._step
        pixels = np.empty((*size, *image.shape[2:]), np.uint8)
        for source, target in self._areas:
            pixels[target] = image[source]
        return pixels

    def scatter(self, pixels: U8, image: U8) -> None:
        """Copy the pixels of the spans back into an image."""
        for source, target in self._areas:
            image[source] = pixels[target]
