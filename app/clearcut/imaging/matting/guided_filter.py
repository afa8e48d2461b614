"""Upsampling of a small matte along the edges of the image.

In every small window the matte is a linear function of the color (K. He, J. Sun, X. Tang: "Guided Image Filtering",
PAMI 2013). The coefficients, not the matte, are computed on a grid of a few hundred cells and interpolated to pixels,
so the result has the detail of the image (K. He, J. Sun: "Fast Guided Filter", arXiv:1505.00996). They are applied only
where the matte is undecided. The edge model corrects the fit at the cells.

``benchmarks/finishing.py`` measures the quality, ``models/training/HISTORY.md`` lists the variants that were compared.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from clearcut.imaging.types import F32, U8, EdgeModel

from .blocks import block_means, blocks_over, from_blocks, whole_blocks
from .compiled_cells import Regularization, load_compiled_cells
from .compiled_pixels import has_packed_rows, load_compiled_pixels
from .edge_band import Mask, Span, any_in_strips, find_spans, max_gap, strip_height, undecided
from .edge_correction import edge_correction
from .grid import grid_step, sample_at_cells, to_cells
from .tiles import Tile, TileSet

_RADIUS = 2
"""Half width of a fitting window, in blocks."""
_HALO = 12
"""Cells around a cell that its coefficients depend on, at most: two windows and an interpolation between blocks. The
edge model could use 31 cells; 12 more than it corrects did not improve it (``benchmarks/finishing.py``)."""
_EPSILON = 1e-4
"""Variance of color, in 0..1 squared, below which a window counts as flat and gets its mean."""
_GAIN = 1.3
"""Contrast factor around 0.5: the ramps of the network are wider than the edges of the image."""
_LOW, _HIGH = 0.05, 0.95
"""Values of the network below and above these become exactly 0 and 1."""
REACH = 2
"""Maximum distance, in cells, between an edge of the image and the network's edge."""
_CONTRAST = 96
"""Assumed maximum difference, in levels per channel, between a pixel and the color of its cell. At 40, pixels beside
bright lines were wrong by ten levels and more, for the same time (``benchmarks/finishing_cost.py``)."""
_STRIDE = 4
"""Side, in cells, of the patches that the edge model processes as one."""
_ONES = np.ones((1, 3), np.float32)
_PIXEL_BYTES = 24
"""Working memory per pixel of a tile: three floats, their sum, the offset and their sources."""
_compiled_cells, _compiled_pixels = load_compiled_cells(), load_compiled_pixels()


def upsample(values: F32, rgb: U8, edge_model: EdgeModel | None = None) -> U8:
    """Upsample the matte ``values`` (f32[h,w] in 0..1) of the whole image ``rgb`` (u8[H,W,3]) to u8[H,W].

    The result is exactly 255 where the network is certain of the subject within a few cells, and exactly 0 where it is
    certain of the background. ``edge_model`` corrects the fit in between.
    """
    height, width = rgb.shape[:2]
    step = grid_step(height, width, min(values.shape))
    raw = sample_at_cells(values, step, height, width)
    clamped = clamp_haze(raw)
    solid = clamped >= 1
    edge = undecided(clamped > 0, solid, REACH)
    left, top, edge_width, edge_height = cv2.boundingRect(edge)
    if not edge_width:
        return np.full((height, width), 255 * solid[0, 0], np.uint8)
    core = Span(top, top + edge_height, left, left + edge_width).snapped(_STRIDE, *clamped.shape)
    part = core.grown(_HALO, *clamped.shape)
    slope = np.zeros((*clamped.shape, 3), np.float32)
    offset = solid * np.float32(255)
    area = part.area
    guide = to_cells(rgb[part.scaled(step, height, width).area], step)
    # Decided cells keep their value whatever the image contains: no haze and no holes.
    level, r_squared_blocks = fit_at_edge(guide, clamped[area], edge[area], slope[area], offset[area])
    if edge_model is not None:
        inner = core.shifted(-part.top, -part.left).area
        r_squared = r_squared_blocks[blocks_over(inner)]
        correction = edge_correction(level[inner], guide[inner], raw[core.area], edge[core.area], r_squared, edge_model)
        offset[core.area] = offset[core.area] + correction
        level[inner] += correction
    rows = strip_height(step)
    opaque, mixed = solid.copy(), np.zeros_like(solid)
    _classify_cells(slope[area], level, opaque[area], mixed[area])
    active = any_in_strips(mixed.view(np.uint8), rows)
    # Between opaque and empty cells in a column of a strip there are mixed ones, so a column without mixed cells is
    # either opaque or empty.
    alpha = fill_strips(any_in_strips(opaque.view(np.uint8), rows), step, rows * step, height, width)
    if not active.any():
        return alpha
    spans = find_spans(active, rows, clamped.shape[0], max_gap(step))
    if _compiled_pixels is not None and has_packed_rows(rgb):
        _compiled_pixels.apply_coefficients(slope, offset, spans, step, rgb, alpha)
        return alpha
    tiles = TileSet(spans, step, (height, width))
    slope, offset = tiles.cells(1, slope, offset)
    for tile in tiles.tiles(_PIXEL_BYTES):
        tile.scatter(apply_coefficients(slope, offset, tile, rgb), alpha)
    return alpha


def fit_at_edge(guide: U8, target: F32, edge: U8, slope: F32, offset: F32) -> tuple[F32, F32]:
    """Write the coefficients of ``fit_coefficients`` where ``edge`` (u8[h,w]) is 1.

    Args:
        slope: f32[h,w,3], 0 outside the edge.
        offset: f32[h,w], the value in 0..255 outside the edge.

    Returns:
        The values of the cells in 0..255, f32[h,w], and ``Fit.r_squared``.
    """
    if _compiled_cells is not None and has_packed_rows(guide, target, edge):
        return _compiled_cells.fit(guide, target, edge, Regularization(_EPSILON, _GAIN), slope, offset)
    fit = fit_coefficients(guide, target)
    cv2.copyTo(fit.slope, edge, slope)
    cv2.copyTo(fit.offset, edge, offset)
    level = np.asarray(cv2.transform(slope * guide, _ONES), np.float32)
    level += offset
    return level, fit.r_squared


class Fit(NamedTuple):
    """Coefficients of the matte in 0..255, with its contrast raised: slope . guide + offset."""

    slope: F32
    """f32[h,w,3]."""
    offset: F32
    """f32[h,w]."""
    r_squared: F32
    """Share of the matte's variance that the colors explain, f32[h/2,w/2] rounded up, per block of 2 x 2 cells."""


def fit_coefficients(guide: U8, target: F32) -> Fit:
    """Fit ``guide`` (u8[h,w,3]) to ``target`` (f32[h,w] in 0..1) in windows around every block of 2 x 2 cells.

    The statistics include all cells (subsampling as in He and Sun), and the coefficients are linear between blocks.
    Against one fit per cell this takes half the time at equal quality (``benchmarks/finishing.py``).
    """
    height, width = target.shape
    guide, target = whole_blocks(guide), np.asarray(whole_blocks(target), np.float32)
    color = np.multiply(guide, np.float32(1 / 255))
    m_r, m_g, m_b, m_t, rr, gg, bb, tt, rg, gb, br, tr, tg, tb = _moments(color, target * np.float32(_GAIN))
    rr += np.float32(_EPSILON)
    gg += np.float32(_EPSILON)
    bb += np.float32(_EPSILON)
    # Elimination in the symmetric 3 x 3 covariance. Rounding would destroy its determinant in windows with two colors.
    rg_r, br_r = rg / rr, br / rr
    gg, gb = gg - rg_r * rg, gb - rg_r * br
    gb_g = gb / gg
    tg = tg - rg_r * tr
    tb = tb - br_r * tr - gb_g * tg
    s_b = tb / (bb - br_r * br - gb_g * gb)
    s_g = tg / gg - gb_g * s_b
    s_r = tr / rr - rg_r * s_g - br_r * s_b
    r_squared = (tr * tr / rr + tg * tg / gg + tb * s_b) / np.maximum(tt, np.float32(_EPSILON))
    offset = m_t - (s_r * m_r + s_g * m_g + s_b * m_b) + np.float32((1 - _GAIN) / 2)
    coefficients = _window_means(np.asarray(cv2.merge([s_r, s_g, s_b, offset * np.float32(255)]), np.float32))
    coefficients = from_blocks(coefficients, height, width)
    slope = np.asarray(cv2.cvtColor(coefficients, cv2.COLOR_RGBA2RGB), np.float32)
    return Fit(slope, np.asarray(cv2.extractChannel(coefficients, 3), np.float32), r_squared)


def clamp_haze(values: F32) -> F32:
    """Stretch ``values`` (f32[h,w] in 0..1) so that values near 0 and 1 become exactly 0 and 1."""
    return np.asarray(np.clip((values - _LOW) * (1 / (_HIGH - _LOW)), 0, 1), np.float32)


def fill_strips(opaque: Mask, step: int, rows: int, height: int, width: int) -> U8:
    """Return u8[height,width]: 255 where a column of cells in a strip of ``rows`` pixels is in ``opaque``, else 0."""
    lines = np.repeat(opaque.view(np.uint8) * np.uint8(255), step, axis=1)[:, :width]
    alpha = np.empty((height, width), np.uint8)
    whole = height // rows
    alpha[: whole * rows].reshape(whole, rows, width)[...] = lines[:whole, None]
    alpha[whole * rows :] = lines[-1]
    return alpha


def _classify_cells(slope: F32, level: F32, opaque: Mask, mixed: Mask) -> None:
    """Write which cells are opaque, and which of the others can have pixels with alpha above 0, bool[h,w] each.

    Args:
        level: value of the fit ``slope`` (f32[h,w,3]) at the color of each cell, f32[h,w]. A pixel differs from it by
            at most ``_CONTRAST`` per channel and lies between its cell and the neighbors.
    """
    if _compiled_cells is not None:
        _compiled_cells.classify(slope, level, _CONTRAST, opaque, mixed)
        return
    deviation = cv2.transform(np.abs(slope), _ONES * np.float32(_CONTRAST))
    window = np.ones((3, 3), np.uint8)
    # Rounded to levels, as the pixels will be.
    lowest, highest = (bound(level, deviation, dtype=cv2.CV_8U) for bound in (cv2.subtract, cv2.add))
    np.equal(cv2.erode(lowest, window), 255, out=opaque)
    np.logical_and(cv2.dilate(highest, window), ~opaque, out=mixed)


def apply_coefficients(slope: F32, offset: F32, tile: Tile, rgb: U8) -> U8:
    """Return slope . color + offset at the pixels of a tile, rounded and limited to u8.

    Args:
        slope: sheet of cells f32[h,w,3] with a border of one cell around each span; ``offset`` f32[h,w] likewise.
    """
    products = tile.zoom(slope)
    products *= tile.gather(rgb)
    dots = cv2.transform(products, _ONES)
    return np.asarray(cv2.add(dots, tile.zoom(offset), dtype=cv2.CV_8U), np.uint8)


_PRODUCTS = ((0, 0), (1, 1), (2, 2), (3, 3), (0, 1), (1, 2), (2, 0), (3, 0), (3, 1), (3, 2))


def _moments(color: F32, target: F32) -> list[F32]:
    """Return means and covariances of ``color`` (f32[h,w,3]) and ``target`` (f32[h,w]) in windows, f32[h/2,w/2] each.

    The sides must be even. The first four planes are the means of the color channels and the target, the others the
    covariances of the pairs in ``_PRODUCTS``.
    """
    planes = [*(np.asarray(plane, np.float32) for plane in cv2.split(color)), target]
    moments = [_window_means(block_means(plane)) for plane in planes]
    product = np.empty_like(target)
    for first, second in _PRODUCTS:
        np.multiply(planes[first], planes[second], out=product)
        covariance = _window_means(block_means(product))
        covariance -= moments[first] * moments[second]
        moments.append(covariance)
    return moments


def _window_means(plane: F32) -> F32:
    side = 2 * _RADIUS + 1
    return np.asarray(cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)
