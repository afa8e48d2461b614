"""Limits on the correction that the edge model adds to a guided fit.

The model moves edges and does not judge regions, so the local mean of its correction is subtracted. Its weight falls
where colors already explain the edge, as for most products in front of a plain wall. ``models/training/HISTORY.md``
lists the variants that were compared.
"""

from __future__ import annotations

import cv2
import numpy as np

from clearcut.imaging.types import F32, U8, EdgeModel

from .blocks import block_means, from_blocks, whole_blocks
from .compiled_cells import CorrectionLimits, load_compiled_cells

BALANCE = 13
"""Side, in cells, of the window over which the mean correction is subtracted in training."""
_BALANCE_BLOCKS = BALANCE // 2 + 1
"""The same window in the service, in blocks of 2 x 2 cells: one cell wider."""
_R_SQUARED_BLOCKS = 13
"""Side, in blocks, of the window over which the explained share of variance is averaged."""
_R_SQUARED_RANGE = 0.8, 0.95
"""Explained share of the matte's variance up to which the model has full weight, and from which it has none
(``benchmarks/finishing.py``)."""
_LEAST_WEIGHT = np.float32(1e-3)
"""Lower bound of the divisor of a window's mean."""
_CORRECTION_LIMITS = CorrectionLimits(_BALANCE_BLOCKS // 2, _R_SQUARED_BLOCKS // 2, _LEAST_WEIGHT, *_R_SQUARED_RANGE)
_compiled_cells = load_compiled_cells()


def edge_correction(level: F32, guide: U8, raw: F32, edge: U8, r_squared: F32, edge_model: EdgeModel) -> F32:
    """Return the correction to add to ``level`` at the cells of ``edge``, f32[h,w].

    Args:
        level: the guided fit, f32[h,w] in 0..255; can be outside this range.
        guide: the image on the grid of cells, u8[h,w,3].
        raw: the network's matte on the grid, f32[h,w] in 0..1.
        edge: undecided cells, u8[h,w] of 0 or 1.
        r_squared: share of the matte's variance that the colors explain, f32 per block of 2 x 2 cells.
    """
    correction = edge_model(guide, raw, level * np.float32(1 / 255))
    if _compiled_cells is not None and correction[:1].flags.c_contiguous:
        return _compiled_cells.limit_correction(correction, edge, r_squared, _CORRECTION_LIMITS)
    mask = edge.astype(np.float32)
    correction = correction * (mask * np.float32(255))
    share = block_means(whole_blocks(mask))
    # Computed per block and interpolated: half the time of windows of cells.
    means = from_blocks(_window_means(block_means(whole_blocks(correction)), share, _BALANCE_BLOCKS), *mask.shape)
    means *= mask
    correction -= means
    low, high = _R_SQUARED_RANGE
    explained = _window_means(r_squared * share, share, _R_SQUARED_BLOCKS)
    weight = (np.float32(high) - explained) * np.float32(1 / (high - low))
    if weight.min() < 1:
        correction *= from_blocks(np.clip(weight, 0, 1, out=weight), *mask.shape)
    return np.asarray(correction, np.float32)


def _window_means(weighted: F32, weights: F32, side: int) -> F32:
    """Return weighted means over windows of ``side`` x ``side`` blocks."""
    sums, counts = (cv2.blur(plane, (side, side), borderType=cv2.BORDER_REPLICATE) for plane in (weighted, weights))
    return np.asarray(np.divide(sums, np.maximum(counts, _LEAST_WEIGHT)), np.float32)
