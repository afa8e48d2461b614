"""Parts of a picture side by side, so that one call works on many of them.

The edge of a matte is worked on in strips of cells, in runs of some columns; every call has a cost of its own, however
short the run is. An atlas lays the runs beside each other on sheets: one of cells, with as many around each run as a
step looks at, and pages of pixels that fit the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from clearcut.imaging.types import F32, U8

from .edge_band import Span

_BYTES = 2 << 20
"""That the work on a page may take, unless a single run takes more. With twice as much a megapixel took a thirtieth
longer, with half of it a fiftieth.
"""
_LONGEST, _NARROWEST = 1 << 17, 8
"""Pixels of a run beyond which it is cut into several, of so many columns of cells at least."""


class TileSet:
    """Runs of the strips of a grid, one at least; the last strip may be lower than others and hang over the frame."""

    def __init__(self, runs: list[Span], step: int, pixels: tuple[int, int]) -> None:
        """``step`` pixels are the side of a cell, ``pixels`` are the picture's height and width."""
        self._step, self._pixels = step, pixels
        self._high = max(run.bottom - run.top for run in runs)
        width = max(_NARROWEST, _LONGEST // (self._high * step**2))
        self._runs = runs
        if max(run.right - run.left for run in runs) > width:
            self._runs = [
                run._replace(left=left, right=min(left + width, run.right))
                for run in runs
                for left in range(run.left, run.right, width)
            ]

    def cells(self, around: int, *planes: np.ndarray, origin: tuple[int, int] = (0, 0)) -> Iterator[np.ndarray]:
        """The sheets of ``planes``, [h,w] or [h,w,c] of a grid: every run with ``around`` cells on each side of it.

        Beyond the planes their outermost cells are repeated. ``origin``: their first cell in a larger grid.
        """
        high, wider = self._high + 2 * around, 2 * around
        above, before = origin
        below = max(0, max(run.top for run in self._runs) - above + self._high - planes[0].shape[0])
        places = [
            (slice(top - above, top - above + high), slice(left - before, right - before + wider))
            for top, _, left, right in self._runs
        ]
        for plane in planes:
            larger = cv2.copyMakeBorder(plane, around, around + below, around, around, cv2.BORDER_REPLICATE)
            yield np.concatenate([larger[place] for place in places], axis=1)

    def trimmed(self, around: int, *sheets: F32) -> Iterator[F32]:
        """Sheets of cells with a single cell around each run, of such with ``around``."""
        less, start = around - 1, 0
        places = []
        for _, _, left, right in self._runs:
            end = start + right - left + 2 * around
            places.append(slice(start + less, end - less))
            start = end
        for sheet in sheets:
            inner = sheet[less : sheet.shape[0] - less]
            yield np.concatenate([inner[:, place] for place in places], axis=1)

    def pages(self, pixel_bytes: int) -> Iterator[Tile]:
        """All runs in their order; ``pixel_bytes``: what the work on a page takes for each of its pixels."""
        room = _BYTES // (pixel_bytes * self._high * self._step**2)
        first = start = end = 0
        for number, run in enumerate(self._runs):
            columns = run.right - run.left + 2
            if number > first and end - start + columns > room:
                yield self._page(first, number, start, end)
                first, start = number, end
            end += columns
        yield self._page(first, len(self._runs), start, end)

    def _page(self, first: int, last: int, start: int, end: int) -> Tile:
        step, (height, width) = self._step, self._pixels
        places, at = [], step
        for cells in self._runs[first:last]:
            top, bottom, left, right = (side * step for side in cells)
            below, beyond = min(bottom, height), min(right, width)
            there = slice(top, below), slice(left, beyond)
            places.append((there, (slice(below - top), slice(at, at + beyond - left))))
            at += right - left + 2 * step
        return Tile(places, slice(start, end), self._high, step)


@dataclass(frozen=True, slots=True)
class Tile:
    """A sheet of pixels with a place for each of some runs, and something meaningless between them."""

    _places: list[tuple[tuple[slice, slice], tuple[slice, slice]]]
    """Of every run: in the picture and on the page."""
    _cells: slice
    """The page's columns on a sheet of cells with one around each run."""
    _high: int
    _step: int

    def zoom(self, sheet: F32) -> F32:
        """The page's pixels of a sheet of cells with one around each run: linear between the cells' centres."""
        size = (self._cells.stop - self._cells.start) * self._step, (self._high + 2) * self._step
        zoomed = cv2.resize(sheet[:, self._cells], size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(zoomed[self._step : size[1] - self._step], np.float32)

    def gather(self, picture: U8) -> U8:
        """The page's pixels of a picture, u8[H,W] or u8[H,W,c]."""
        size = self._high * self._step, (self._cells.stop - self._cells.start) * self._step
        page = np.empty((*size, *picture.shape[2:]), np.uint8)
        for there, here in self._places:
            page[here] = picture[there]
        return page

    def scatter(self, page: U8, picture: U8) -> None:
        """Writes the runs of a page into the picture."""
        for there, here in self._places:
            picture[there] = page[here]
