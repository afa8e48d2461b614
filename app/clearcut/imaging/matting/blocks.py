"""Blocks of 2 x 2 cells: what is taken to be linear between their centres is worked out once for each."""

from __future__ import annotations

import cv2
import numpy as np

from clearcut.imaging.types import F32

_PAIR = 2
"""Cells along the side of a block."""


def whole_blocks(plane: np.ndarray) -> np.ndarray:
    """``plane``, [h,w] or [h,w,c], with its last row and its last column once more where their number is odd."""
    below, right = plane.shape[0] % _PAIR, plane.shape[1] % _PAIR
    return cv2.copyMakeBorder(plane, 0, below, 0, right, cv2.BORDER_REPLICATE) if below or right else plane


def block_means(plane: np.ndarray) -> F32:
    """The means f32[h/2,w/2] of whole blocks."""
    size = plane.shape[1] // _PAIR, plane.shape[0] // _PAIR
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)


def from_blocks(plane: F32, height: int, width: int) -> F32:
    """The cells f32[height,width] or f32[height,width,c] of blocks: linear between the blocks' centres."""
    size = plane.shape[1] * _PAIR, plane.shape[0] * _PAIR
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR), np.float32)[:height, :width]


def blocks_over(area: tuple[slice, slice]) -> tuple[slice, slice]:
    """The blocks that cover the cells of ``area``, which begins with a block."""
    rows, columns = (slice(each.start // _PAIR, -(-each.stop // _PAIR)) for each in area)
    return rows, columns
