"""Which tiles of the picture the expensive steps have to look at.

The edge of a matte is thin: at 12 megapixels a few per cent of the picture. Both finishing steps cut the frame
into square tiles, find those that hold work, and join neighbours in a row to one run, so that their cost follows
the length of the edge and the cost of a call is paid once for a run.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from app.imaging.types import F32, U8

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Run:
    """A rectangle of a grid, ends exclusive."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, by: int, height: int, width: int) -> Run:
        """Larger by ``by`` on every side, cut at a frame of ``height`` x ``width``."""
        return Run(
            max(self.top - by, 0),
            min(self.bottom + by, height),
            max(self.left - by, 0),
            min(self.right + by, width),
        )

    def scaled(self, step: int, height: int, width: int) -> Run:
        """The same rectangle on a grid ``step`` times finer, cut at a frame of ``height`` x ``width``."""
        return Run(
            min(self.top * step, height),
            min(self.bottom * step, height),
            min(self.left * step, width),
            min(self.right * step, width),
        )

    def within(self, outer: Run) -> tuple[slice, slice]:
        """Where this rectangle lies inside an array that holds ``outer``."""
        return (
            slice(self.top - outer.top, self.bottom - outer.top),
            slice(self.left - outer.left, self.right - outer.left),
        )


def occupied(mask: U8, tile: int) -> Mask:
    """bool[ceil(h / tile), ceil(w / tile)]: whether a tile of ``mask`` (u8[h,w]) holds anything but 0."""
    height, width = mask.shape
    rows = np.maximum.reduceat(mask, np.arange(0, height, tile), axis=0)
    return np.asarray(np.maximum.reduceat(rows, np.arange(0, width, tile), axis=1) > 0)


def undecided(some: Mask, full: Mask, reach: int) -> U8:
    """u8[h,w]: 0 where no cell up to ``reach`` away is in ``some``, or all are in ``full`` (bool[h,w] both); else 1."""
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    outer = np.asarray(cv2.dilate(some.astype(np.uint8), window), np.uint8)
    return outer - np.asarray(cv2.erode(full.astype(np.uint8), window), np.uint8)


def runs(tiles: Mask, tile: int, height: int, width: int) -> list[Run]:
    """The True tiles, neighbours in a row joined, in the coordinates of the frame ``height`` x ``width``."""
    found = []
    for row, line in enumerate(tiles):
        edges = np.flatnonzero(np.diff(line.astype(np.int8), prepend=0, append=0))
        for left, right in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            found.append(Run(row, row + 1, left, right).scaled(tile, height, width))
    return found


def to_cells(plane: U8, step: int) -> U8:
    """``plane``, u8[h,w] or u8[h,w,c], on a grid of ceil(h / step) x ceil(w / step) cells; ``step`` <= h and w.

    The mean of a cell's pixels; from step 4 on of four samples in it, always at the same places, since reading every
    pixel of a large picture costs more than all that follows. A cell that is cut by the frame repeats its neighbour.
    """
    if step == 1:
        return plane
    height, width = plane.shape[:2]
    rows, columns = height // step, width // step
    whole = plane[: rows * step, : columns * step]
    if step >= 4:
        whole = np.asarray(cv2.resize(whole, (2 * columns, 2 * rows), interpolation=cv2.INTER_LINEAR), np.uint8)
    cells = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    below, right = -(-height // step) - rows, -(-width // step) - columns
    return np.asarray(cv2.copyMakeBorder(cells, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)


def to_pixels(cells: F32, run: Run, step: int, height: int, width: int) -> F32:
    """The values of ``run``, a part of ``cells``, linear between the cells' centres, cut at ``height`` x ``width``."""
    halo = run.grown(1, *cells.shape[:2])
    size = ((halo.right - halo.left) * step, (halo.bottom - halo.top) * step)
    fine = cv2.resize(cells[halo.area], size, interpolation=cv2.INTER_LINEAR)
    whole = Run(halo.top * step, halo.bottom * step, halo.left * step, halo.right * step)
    return np.asarray(fine[run.scaled(step, height, width).within(whole)], np.float32)
