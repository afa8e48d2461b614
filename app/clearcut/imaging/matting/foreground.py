"""Estimation of the foreground color in soft edges, where a photo shows a mixture with the old background.

The method follows M. Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021 (blur fusion). The mean colors
of subject and background around a pixel are a first estimate. The part of the pixel's color that they do not explain
corrects the subject's color, and a second pass repeats this. The paper weights the means by alpha. Here the weights
fall steeply with alpha, so the purest pixels dominate the first estimate. The means are computed on a grid of cells,
the last correction on every pixel.

``benchmarks/finishing_color.py`` measures the error, ``models/training/HISTORY.md`` lists the variants that were
compared.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from clearcut.imaging.types import F32, U8

from .compiled_cells import Windows, load_compiled_cells
from .compiled_pixels import has_packed_rows, load_compiled_pixels
from .edge_band import Mask, Span, Strips, find_spans, max_gap, strip_height, strips_of
from .grid import cell_centers, grid_step
from .tiles import TileSet

_STEEPNESS = 8
_LINEAR_WEIGHT, _LEAST_WEIGHT = 1e-6, 1e-9
"""The weight of a cell is alpha ** _STEEPNESS + _LINEAR_WEIGHT * alpha + _LEAST_WEIGHT. Without a pure pixel nearby the
purest one dominates, and without any, the color of the image. Weights of the far window are rounded to 1/255, so alpha
below 0.46 has none."""
_NEAR_FAR_PIXELS, _NEAR_FAR_CELLS = (5, 21), (3, 11)
"""Sides of the near and the far window in cells, for cells of one pixel and for larger cells."""
_COARSER = 2
"""Side, in cells, of the blocks that the far window averages. With single cells, colors would depend on the alignment
of the grid by up to 17 levels."""
_HALO = 12
"""Cells around a span that its colors depend on, at most: the far window of blocks and an interpolation between them,
or the far window of pixels."""
_FAR_SHARE = 0.04
"""Weight of the far window, which matters where the near one has no pure pixel of the subject; the background has no
far window (``benchmarks/finishing_color.py``)."""
_PIXEL_BYTES = 52
"""Working memory per pixel of a tile: four times three floats and their sources."""
_compiled_cells, _compiled_pixels = load_compiled_cells(), load_compiled_pixels()


def estimate_foreground(rgb: U8, alpha: U8) -> U8:
    """Remove the background's share from ``rgb`` (u8[H,W,3]) where 0 < ``alpha`` < 255 (u8[H,W]).

    Returns:
        A new array, bit-equal to ``rgb`` where alpha is 0 or 255.
    """
    foreground = rgb.copy()
    estimate_foreground_inplace(foreground, alpha, foreground_strips(alpha))
    return foreground


def foreground_strips(alpha: U8) -> Strips:
    """Return the strips of ``alpha`` (u8[H,W]) that ``estimate_foreground_inplace`` needs."""
    step = grid_step(*alpha.shape)
    return strips_of(alpha, strip_height(step) * step)


def estimate_foreground_inplace(rgb: U8, alpha: U8, strips: Strips) -> None:
    """Run ``estimate_foreground`` in place. All colors are computed before the first one is written.

    Args:
        strips: the ``foreground_strips`` of ``alpha``.
    """
    step = grid_step(*alpha.shape)
    grid = -(-alpha.shape[0] // step), -(-alpha.shape[1] // step)
    spans = find_spans(_soft_columns(strips, step), strips.rows // step, grid[0], max_gap(step))
    if not spans:
        return
    tiles = TileSet(spans, step, alpha.shape)
    part = _bounding_span(spans).grown(_HALO, *grid).snapped(_COARSER, *grid)
    area = part.scaled(step, *alpha.shape).area
    subject, excess = _estimate_colors(
        cell_centers(rgb[area], step), cell_centers(alpha[area], step), tiles, step, (part.top, part.left)
    )
    if _compiled_pixels is not None and has_packed_rows(rgb, alpha):
        _compiled_pixels.correct_colors(subject, excess, tiles.places(), step, rgb, alpha)
        return
    for tile in tiles.tiles(_PIXEL_BYTES):
        corrected = _correct(tile.gather(rgb), tile.gather(alpha), tile.zoom(subject), tile.zoom(excess))
        tile.scatter(corrected, rgb)


def _soft_columns(strips: Strips, step: int) -> Mask:
    """Return the columns of cells in which a strip is neither empty nor opaque, bool[strips,w]."""
    soft = (strips.highest > 0) & (strips.lowest < 255)
    columns = np.zeros((len(soft), -(-soft.shape[1] // step)), np.bool_)
    for offset in range(step):  # a reduction over so few values takes four times as long
        part = soft[:, offset::step]
        columns[:, : part.shape[1]] |= part
    return columns


def _bounding_span(spans: list[Span]) -> Span:
    """Return the smallest span that contains ``spans``, which are in the order of their strips."""
    return Span(spans[0].top, spans[-1].bottom, min(each.left for each in spans), max(each.right for each in spans))


def _estimate_colors(rgb: U8, alpha: U8, tiles: TileSet, step: int, origin: tuple[int, int]) -> tuple[F32, F32]:
    """Return the subject's color and its difference from the background's, sheets f32[h,w,3] of cells each.

    Args:
        rgb: a part of the grid, like ``alpha``.
        origin: row and column of its first cell.
    """
    near, far = _NEAR_FAR_PIXELS if step == 1 else _NEAR_FAR_CELLS
    if _compiled_cells is not None and has_packed_rows(rgb, alpha):
        windows = Windows(near // 2, far // _COARSER // 2, _FAR_SHARE, _LEAST_WEIGHT, _weights()[1], _far_weights())
        return _compiled_cells.colors(rgb, alpha, origin, tiles.places(), windows)
    border = near // 2 * 2 + 1  # two windows and an interpolation
    # OpenCV is faster with four channels than with three. The last channel counts the weights.
    rgba = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA), np.uint8)
    color, cover, far_sums = tiles.cells(border, rgba, alpha, _far_sums(rgba, alpha, far), origin=origin)
    own = color.astype(np.float32)
    background_weight, subject_weight = (np.asarray(cv2.LUT(cover, table), np.float32) for table in _weights())
    subject = _mean_color(own, subject_weight, near, far_sums)
    del far_sums  # as large as a quarter of the image if it is soft everywhere
    background = _mean_color(own, background_weight, near)
    # The second pass uses the first estimate of each cell, because an edge wider than a window has no pure cell.
    share = cover.astype(np.float32) * np.float32(1 / 255)
    share4 = cv2.merge([share, share, share, share])
    # subject + share * (own - background - share * (subject - background)), with few new arrays.
    own -= background
    difference = np.subtract(subject, background)
    difference *= share4
    own -= difference
    own *= share4
    own += subject
    subject = _mean_color(own, share * share + np.float32(_LEAST_WEIGHT), near)
    excess = np.subtract(subject, background, out=background)
    sheets = [cv2.cvtColor(each, cv2.COLOR_RGBA2RGB) for each in tiles.trimmed(border, subject, excess)]
    return np.asarray(sheets[0], np.float32), np.asarray(sheets[1], np.float32)


@functools.cache
def _weights() -> tuple[F32, F32]:
    """Return the weights of a cell by its alpha 0..255: as background and as subject."""
    share = np.arange(256) / 255
    weights = np.asarray(share**_STEEPNESS + _LINEAR_WEIGHT * share + _LEAST_WEIGHT, np.float32)
    return weights[::-1].copy(), weights


@functools.cache
def _far_weights() -> U8:
    """Return the subject's weights for the far window, in 1/255."""
    return np.asarray(_weights()[1] * 255 + np.float32(0.5)).astype(np.uint8)


def _far_sums(rgba: U8, alpha: U8, far: int) -> F32:
    """Return weighted sums of the subject's colors over the far window, f32[h,w,4].

    Colors are 255 times the weighted means. The last channel is 255 squared times the mean weight.
    """
    height, width = alpha.shape
    padding = 0, -height % _COARSER, 0, -width % _COARSER
    rgba = np.asarray(cv2.copyMakeBorder(rgba, *padding, cv2.BORDER_REPLICATE), np.uint8)
    alpha = np.asarray(cv2.copyMakeBorder(alpha, *padding, cv2.BORDER_REPLICATE), np.uint8)
    size = alpha.shape[1], alpha.shape[0]
    side = far // _COARSER | 1
    weight = cv2.LUT(alpha, _far_weights())
    # 16 bits hold every product and need half the memory bandwidth of floats.
    products = np.multiply(rgba, cv2.merge([weight, weight, weight, weight]), dtype=np.uint16)
    blocks = cv2.resize(products, (size[0] // _COARSER, size[1] // _COARSER), interpolation=cv2.INTER_AREA)
    means = cv2.boxFilter(blocks, cv2.CV_32F, (side, side), borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(means, size, interpolation=cv2.INTER_LINEAR)[:height, :width], np.float32)


def _weighted(color: F32, weight: F32) -> F32:
    weight4 = cv2.merge([weight, weight, weight, weight])
    return np.asarray(cv2.multiply(color, weight4, dst=weight4), np.float32)


def _mean_color(color: F32, weight: F32, near: int, far_sums: F32 | None = None) -> F32:
    """Return weighted means of ``color`` (f32[h,w,4], last channel 255) in windows, plus a share of ``far_sums``."""
    kernel = np.full(near, 1 / near, np.float32)
    sums = cv2.sepFilter2D(_weighted(color, weight), -1, kernel, kernel, borderType=cv2.BORDER_REFLECT)
    if far_sums is not None:
        cv2.addWeighted(sums, 1, far_sums, _FAR_SHARE / 255, 0, dst=sums)
    scale = np.float32(255) / np.asarray(cv2.extractChannel(sums, 3), np.float32)
    return np.asarray(cv2.multiply(sums, cv2.merge([scale, scale, scale, scale]), dst=sums), np.float32)


def _correct(rgb: U8, alpha: U8, subject: F32, excess: F32) -> U8:
    """Return subject + alpha * (rgb - alpha * subject - (1 - alpha) * background), where excess = subject - background.

    This equals ``rgb`` and subject + alpha * excess, mixed by alpha. Where alpha is 0 or 255 the result is ``rgb``.
    Overwrites ``subject`` and ``excess``.
    """
    # Alpha 0 becomes 255, so that the image stays unchanged where the subject is invisible.
    visible = alpha | np.negative((alpha == 0).view(np.uint8))
    share = np.asarray(cv2.cvtColor(np.multiply(visible, np.float32(1 / 255)), cv2.COLOR_GRAY2RGB), np.float32)
    estimate = cv2.accumulateProduct(excess, share, subject)
    difference = np.subtract(rgb.astype(np.float32), estimate, out=excess)
    mixed = cv2.accumulateProduct(difference, share, estimate)
    cv2.threshold(mixed, 0, 0, cv2.THRESH_TOZERO, dst=mixed)
    return np.asarray(cv2.convertScaleAbs(mixed), np.uint8)
