"""The parts of an image that contain the edge of its matte.

The edge is thin: a few percent of the image at 12 megapixels. Upsampling and foreground estimation divide the image
into strips of some rows, and process in each strip only the columns with undecided pixels. Their cost follows the
length of the edge. Nearby columns are joined into one span, because each call has a fixed cost.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from clearcut.imaging.compiled.image_measures import load_measures
from clearcut.imaging.types import U8

Mask = npt.NDArray[np.bool_]
_measures = load_measures()


class Span(NamedTuple):
    """A rectangle on a grid; ``bottom`` and ``right`` are exclusive."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> tuple[slice, slice]:
        """The rectangle as an index of an array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, margin: int, height: int, width: int) -> Span:
        """Return the rectangle enlarged by ``margin`` on every side, clipped to ``height`` x ``width``."""
        return Span(
            max(self.top - margin, 0),
            min(self.bottom + margin, height),
            max(self.left - margin, 0),
            min(self.right + margin, width),
        )

    def shifted(self, down: int, right: int) -> Span:
        """Return the rectangle moved by ``down`` and ``right``."""
        return Span(self.top + down, self.bottom + down, self.left + right, self.right + right)

    def snapped(self, multiple: int, height: int, width: int) -> Span:
        """Return the rectangle enlarged so that its sides are multiples of ``multiple``, or the frame's sides."""
        return Span(
            self.top - self.top % multiple,
            min(self.bottom + -self.bottom % multiple, height),
            self.left - self.left % multiple,
            min(self.right + -self.right % multiple, width),
        )

    def scaled(self, step: int, height: int, width: int) -> Span:
        """Return the rectangle on a grid that is ``step`` times finer, clipped to ``height`` x ``width``."""
        return Span(
            min(self.top * step, height),
            min(self.bottom * step, height),
            min(self.left * step, width),
            min(self.right * step, width),
        )


class Strips(NamedTuple):
    """The maximum and minimum alpha of each column in strips of ``rows`` rows, u8[strips,w] each."""

    rows: int
    highest: U8
    lowest: U8


def strips_of(alpha: U8, rows: int) -> Strips:
    """Divide ``alpha`` (u8[h,w]) into strips of ``rows`` rows; the last strip may have fewer."""
    if _measures is not None and alpha[:1].flags.c_contiguous:
        return Strips(rows, *_measures.strip_extremes(alpha, rows))
    return Strips(rows, reduce_strips(np.maximum, alpha, rows), reduce_strips(np.minimum, alpha, rows))


def any_in_strips(mask: U8, rows: int) -> Mask:
    """Return where a column of a strip of ``mask`` (u8[h,w]) has a nonzero value, bool[ceil(h / rows), w]."""
    return np.asarray(reduce_strips(np.maximum, mask, rows) > 0)


def reduce_strips(ufunc: np.ufunc, plane: U8, rows: int) -> U8:
    """Reduce each column of each strip of ``plane`` (u8[h,w]) to one value, u8[ceil(h / rows), w]."""
    height, width = plane.shape
    whole = height // rows
    reduced = ufunc.reduce(plane[: whole * rows].reshape(whole, rows, width), axis=1)
    if height % rows:
        reduced = np.concatenate([reduced, ufunc.reduce(plane[whole * rows :], axis=0, keepdims=True)])
    return np.asarray(reduced, np.uint8)


def undecided(nonzero: Mask, full: Mask, reach: int) -> U8:
    """Return 0 where no cell within ``reach`` is nonzero, or all are full, and else 1: u8[h,w] of two bool[h,w]."""
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    outer = np.asarray(cv2.dilate(nonzero.astype(np.uint8), window), np.uint8)
    return outer - np.asarray(cv2.erode(full.astype(np.uint8), window), np.uint8)


def find_spans(strips: Mask, rows: int, height: int, gap: int = 0) -> list[Span]:
    """Return the True columns of strips of ``rows`` rows as rectangles in a frame of ``height`` rows.

    Columns of a strip with at most ``gap`` columns between them are joined.
    """
    count, width = strips.shape
    # An empty column after each strip lets all strips be searched as one line: every span ends within its strip.
    line = np.zeros((count, width + 1), np.bool_)
    line[:, :width] = strips
    line = line.reshape(-1)
    changes = np.flatnonzero(line[1:] != line[:-1]) + 1
    bounds = [0, *changes.tolist()] if line[:1].any() else changes.tolist()
    spans: list[Span] = []
    for start, end in zip(bounds[::2], bounds[1::2], strict=True):
        strip, left = divmod(start, width + 1)
        right = left + end - start
        if spans and spans[-1].top == strip * rows and left - spans[-1].right <= gap:
            left = spans.pop().left
        spans.append(Span(strip * rows, min((strip + 1) * rows, height), left, right))
    return spans


def strip_height(step: int) -> int:
    """Return the height of a strip in cells: about 64 pixels, at least six cells.

    Each strip needs two more rows of cells. Heights of 32 to 96 pixels take equal time
    (``benchmarks/finishing_cost.py``).
    """
    return max(6, 64 // step)


def max_gap(step: int) -> int:
    """Return the largest gap, in cells, between two columns that are joined: 24 pixels.

    96 pixels took a sixteenth longer at one megapixel, fewer pixels made no difference
    (``benchmarks/finishing_cost.py``).
    """
    return 24 // step
