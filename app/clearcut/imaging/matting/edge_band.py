"""Which parts of the picture the expensive steps have to look at.

The edge of a matte is thin: at 12 megapixels a few per cent of the picture. Both finishing steps cut the frame into
strips of some rows and find the columns in each that hold work, so that their cost follows the length of the edge. Runs
of such columns with little between them are worked on as one, since every call has a cost of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from clearcut.imaging.types import U8

Mask = npt.NDArray[np.bool_]


class Span(NamedTuple):
    """A rectangle of a grid, ends exclusive."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, by: int, height: int, width: int) -> Span:
        """Larger by ``by`` on every side, cut at a frame of ``height`` x ``width``."""
        return Span(
            max(self.top - by, 0),
            min(self.bottom + by, height),
            max(self.left - by, 0),
            min(self.right + by, width),
        )

    def shifted(self, down: int, right: int) -> Span:
        return Span(self.top + down, self.bottom + down, self.left + right, self.right + right)

    def snapped(self, to: int, height: int, width: int) -> Span:
        """Larger, so that its sides lie on multiples of ``to`` or on a frame of ``height`` x ``width``."""
        return Span(
            self.top - self.top % to,
            min(self.bottom + -self.bottom % to, height),
            self.left - self.left % to,
            min(self.right + -self.right % to, width),
        )

    def scaled(self, step: int, height: int, width: int) -> Span:
        """The same rectangle on a grid ``step`` times finer, cut at a frame of ``height`` x ``width``."""
        return Span(
            min(self.top * step, height),
            min(self.bottom * step, height),
            min(self.left * step, width),
            min(self.right * step, width),
        )


class Strips(NamedTuple):
    """Of strips of ``rows`` rows of a matte, in each column: the highest alpha, u8[strips,w]."""

    rows: int
    most: U8


def strips_of(alpha: U8, rows: int) -> Strips:
    """The strips of ``alpha`` (u8[h,w]), the last of which may be lower."""
    return Strips(rows, over_strips(np.maximum, alpha, rows))


def occupied(mask: U8, high: int) -> Mask:
    """bool[ceil(h / high), w]: in which columns a strip of ``high`` rows of ``mask`` (u8[h,w]) holds anything but 0."""
    return np.asarray(over_strips(np.maximum, mask, high) > 0)


def over_strips(reducing: np.ufunc, plane: U8, high: int) -> U8:
    """u8[ceil(h / high), w]: the columns of strips of ``high`` rows of ``plane`` (u8[h,w]), each reduced to a value."""
    height, width = plane.shape
    whole = height // high
    found = reducing.reduce(plane[: whole * high].reshape(whole, high, width), axis=1)
    if height % high:
        found = np.concatenate([found, reducing.reduce(plane[whole * high :], axis=0, keepdims=True)])
    return np.asarray(found, np.uint8)


def undecided(some: Mask, full: Mask, reach: int) -> U8:
    """u8[h,w]: 0 where no cell up to ``reach`` away is in ``some``, or all are in ``full`` (bool[h,w] both); else 1."""
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    outer = np.asarray(cv2.dilate(some.astype(np.uint8), window), np.uint8)
    return outer - np.asarray(cv2.erode(full.astype(np.uint8), window), np.uint8)


def find_spans(strips: Mask, high: int, height: int, gap: int = 0) -> list[Span]:
    """The True columns of strips of ``high`` rows, in the coordinates of a frame of ``height``.

    Neighbours are joined to one run, and so are those that ``gap`` columns at most lie between.
    """
    count, width = strips.shape
    # With an empty column at the end of each, strips can be looked at as one: each start has its own strip's end.
    line = np.zeros((count, width + 1), np.bool_)
    line[:, :width] = strips
    line = line.reshape(-1)
    changes = np.flatnonzero(line[1:] != line[:-1]) + 1
    places = [0, *changes.tolist()] if line[:1].any() else changes.tolist()
    found: list[Span] = []
    for start, end in zip(places[::2], places[1::2], strict=True):
        row, left = divmod(start, width + 1)
        right = left + end - start
        if found and found[-1].top == row * high and left - found[-1].right <= gap:
            left = found.pop().left
        found.append(Span(row * high, min((row + 1) * high, height), left, right))
    return found


def strip_height(step: int) -> int:
    """Rows of cells that are worked on at once: some 64 pixels, but six at least, as a strip costs two more.

    Between 32 and 96 pixels it makes no difference.
    """
    return max(6, 64 // step)


def gap_width(step: int) -> int:
    """Columns of cells between two runs of a strip up to which these are worked on as one: what 24 pixels have. With 96
    it took a sixteenth longer at a megapixel, with 16 or none as long.
    """
    return 24 // step
