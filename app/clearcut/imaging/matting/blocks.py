"""Blocks of 2 x 2 cells: values that are linear between block centers are computed once per block."""

from __future__ import annotations

import cv2
import numpy as np

from clearcut.imaging.types import F32

_SIDE = 2
"""Cells along the side of a block."""


def whole_blocks(plane: np.ndarray) -> np.ndarray:
    """Repeat the last row and column of ``plane``, [h,w] or [h,w,c], where their number is odd."""
    below, right = plane.shape[0] % _SIDE, plane.shape[1] % _SIDE
    return cv2.copyMakeBorder(plane, 0, below, 0, right, cv2.BORDER_REPLICATE) if below or right else plane


def block_means(plane: np.ndarray) -> F32:
    """Return the means of the blocks of ``plane``, f32[h/2,w/2]; its sides must be even."""
    size = plane.shape[1] // _SIDE, plane.shape[0] // _SIDE
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)


def from_blocks(plane: F32, height: int, width: int) -> F32:
    """Interpolate blocks to cells, f32[height,width] or f32[height,width,c]: linear between block centers."""
    size = plane.shape[1] * _SIDE, plane.shape[0] * _SIDE
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR), np.float32)[:height, :width]


def blocks_over(area: tuple[slice, slice]) -> tuple[slice, slice]:
    """Return the blocks that cover the cells of ``area``, which must begin at a block."""
    rows, columns = (slice(each.start // _SIDE, -(-each.stop // _SIDE)) for each in area)
    return rows, columns
