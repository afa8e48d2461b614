"""Upsampling a small matte along the edges of the picture.

The matte is taken to be a linear function of the colour in every small window (K. He, J. Sun, X. Tang: "Guided
Image Filtering", PAMI 2013). The linear coefficients are fitted on a grid of a few hundred cells and brought up
to the picture, not the matte itself, so that the result has the picture's own detail (K. He, J. Sun: "Fast Guided
Filter", arXiv:1505.00996). The coefficients are applied only where the matte is not decided.

Compared on composites and pets from the training data with the mattes of two networks: change against bilinear of SAD
and of gradient error, mean over pictures of each picture's own change, in per cent.

    contrast alone, 1.67                                     -12 / +32    -19 / +42
    guided filter at full size, no contrast                  +10 / -9      +4 / -15
    the same with contrast 1.6                               -16 / +2      -22 / +5
    this, coefficients on the grid, contrast 1.25            -15 / -6      -20 / -2
    this, contrast 1.4                                       -17 /  0      -21 / +5
    two fits, the second to the first one's result           -15 / -8      -21 / -5   (much worse on flat products)
    contrast by how well a window fits                       -15 / +28     -20 / +35
    Bayesian colour models of subject and ground near by     -12 / +16     -18 / +14

What colours do not tell an edge model can know, from where edges usually are: it corrects the fit at the cells
(``models/training/edge``). With its whole say, on held-out composites and the mattes of three networks, -29 / -18,
-19 / -13 and -25 / -16 where this alone has -29 / -8, -19 / -3 and -25 / -5; how much of it it has:
``edge_correction``.

Of the summed change, GrabCut on the grid costs 42 and 55 % in gradient; closed-form matting gains 8 and 11 %, and 4 and
19 % in SAD, in seconds. All gain little where the network is wrong about what the subject is: benchmarks/finishing.py.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from clearcut.imaging.types import F32, U8, EdgeModel

from .blocks import block_means, blocks_over, from_blocks, whole_blocks
from .edge_band import Mask, Span, find_spans, gap_width, occupied, strip_height, undecided
from .edge_correction import edge_correction
from .grid import grid_step, sample_at_cells, to_cells
from .tiles import Tile, TileSet

_RADIUS = 2
"""Half width of a fitting window, in blocks."""
_HALO = 12
"""Cells around a cell that its coefficients depend on, at most: two windows and an interpolation between blocks. The
edge model, which would look up to 31 cells away, gets none more than it corrects: with 12 more it was no better, nor
was it taught there.
"""
_EPSILON = 1e-4
"""Variance of colour (of 0..1) below which a window is flat and its mean holds."""
_GAIN = 1.3
"""Contrast around one half: the network's ramps are wider than the picture's edges."""
_LOW, _HIGH = 0.05, 0.95
"""What the network leaves below and above is haze, and squashed to exactly 0 and 255."""
REACH = 2
"""How far, in cells, an edge of the picture may lie from the network's."""
_CONTRAST = 96
"""Levels of each channel by which a pixel is taken to differ from its cell's colour at most: assumed, no bound. With
40, which takes as long, ten levels and more were off beside bright lines.
"""
_STRIDE = 4
"""Cells along the side of what the edge model sees as one."""
_ONES = np.ones((1, 3), np.float32)
_PIXEL_BYTES = 24
"""Of three floats a pixel, their sum, another and what they are made of."""


def upsample(values: F32, rgb: U8, edges: EdgeModel | None = None) -> U8:
    """The matte ``values`` (f32[h,w] in 0..1) of the whole picture ``rgb`` (u8[H,W,3]) as u8[H,W].

    255 exactly wherever the network is decided on the subject a few cells around, 0 exactly on the background.
    ``edges`` corrects the fit between the two.
    """
    height, width = rgb.shape[:2]
    step = grid_step(height, width, min(values.shape))
    raw = sample_at_cells(values, step, height, width)
    small = clamp_haze(raw)
    solid = small >= 1
    edge = undecided(small > 0, solid, REACH)
    left, above, across, down = cv2.boundingRect(edge)
    if not across:
        return np.full((height, width), 255 * solid[0, 0], np.uint8)
    core = Span(above, above + down, left, left + across).snapped(_STRIDE, *small.shape)
    part = core.grown(_HALO, *small.shape)
    slope = np.zeros((*small.shape, 3), np.float32)
    offset = solid * np.float32(255)
    area = part.area
    guide = to_cells(rgb[part.scaled(step, height, width).area], step)
    # Decided cells hold their value whatever the picture shows: no haze and no holes.
    fit = fit_coefficients(guide, small[area])
    cv2.copyTo(fit.slope, edge[area], slope[area])
    cv2.copyTo(fit.offset, edge[area], offset[area])
    level = np.asarray(cv2.transform(slope[area] * guide, _ONES), np.float32)
    level += offset[area]
    if edges is not None:
        inner = core.shifted(-part.top, -part.left).area
        told = fit.told[blocks_over(inner)]
        added = edge_correction(level[inner], guide[inner], raw[core.area], edge[core.area], told, edges)
        offset[core.area] = offset[core.area] + added
        level[inner] += added
    high = strip_height(step)
    full, unsure = solid.copy(), np.zeros_like(solid)
    full[area], unsure[area] = _sure(slope[area], level)
    active = occupied(unsure.view(np.uint8), high)
    # Between full and empty cells of a strip's column there are unsure ones: a column without them is all of one kind.
    alpha = _in_strips(occupied(full.view(np.uint8), high), step, high * step, height, width)
    if not active.any():
        return alpha
    atlas = TileSet(find_spans(active, high, small.shape[0], gap_width(step)), step, (height, width))
    slope, offset = atlas.cells(1, slope, offset)
    for page in atlas.pages(_PIXEL_BYTES):
        _apply(slope, offset, page, rgb, alpha)
    return alpha


def _in_strips(full: Mask, step: int, rows: int, height: int, width: int) -> U8:
    """u8[height,width]: 255 where a column of cells in a strip of ``rows`` pixels is in ``full`` (bool[strips,w])."""
    lines = np.repeat(full.view(np.uint8) * np.uint8(255), step, axis=1)[:, :width]
    alpha = np.empty((height, width), np.uint8)
    whole = height // rows
    alpha[: whole * rows].reshape(whole, rows, width)[...] = lines[:whole, None]
    alpha[whole * rows :] = lines[-1]
    return alpha


def _sure(slope: F32, level: F32) -> tuple[Mask, Mask]:
    """Which cells are opaque all over, and which may be anything but that or empty, bool[h,w] both.

    ``level`` (f32[h,w]) is what the fit of ``slope`` (f32[h,w,3]) makes of a cell's own colour. A pixel is taken to
    differ from that by ``_CONTRAST`` at most, and lies between its cell and those around.
    """
    room = cv2.transform(np.abs(slope), _ONES * np.float32(_CONTRAST))
    window = np.ones((3, 3), np.uint8)
    # Rounded to levels here already, as the pixels will be.
    lowest, highest = (reach(level, room, dtype=cv2.CV_8U) for reach in (cv2.subtract, cv2.add))
    full = np.asarray(cv2.erode(lowest, window) == 255)
    return full, np.asarray(cv2.dilate(highest, window) > 0) & ~full


class Fit(NamedTuple):
    """slope . guide + offset is a matte in 0..255, its contrast raised."""

    slope: F32
    """f32[h,w,3]."""
    offset: F32
    """f32[h,w]."""
    told: F32
    """f32[h/2,w/2], rounded up: of blocks of 2 x 2 cells, what share of the matte's variance colours explain."""


def fit_coefficients(guide: U8, target: F32) -> Fit:
    """What brings ``guide`` (u8[h,w,3]) to ``target`` (f32[h,w] in 0..1).

    The fit is made once for every block of 2 x 2 cells, from the statistics of all of them (He and Sun's subsampling),
    and is linear between blocks: in half the time the gradient error of the benchmark came out up to two points lower
    than with a fit for every cell, u2netp's SAD one point higher.
    """
    height, width = target.shape
    guide, target = whole_blocks(guide), np.asarray(whole_blocks(target), np.float32)
    colour = np.multiply(guide, np.float32(1 / 255))
    m_r, m_g, m_b, m_t, rr, gg, bb, tt, rg, gb, br, tr, tg, tb = _moments(colour, target * np.float32(_GAIN))
    rr += np.float32(_EPSILON)
    gg += np.float32(_EPSILON)
    bb += np.float32(_EPSILON)
    # Elimination in the symmetric 3 x 3 covariance: where a window has two colours its determinant is lost in rounding.
    rg_r, br_r = rg / rr, br / rr
    gg, gb = gg - rg_r * rg, gb - rg_r * br
    gb_g = gb / gg
    tg = tg - rg_r * tr
    tb = tb - br_r * tr - gb_g * tg
    s_b = tb / (bb - br_r * br - gb_g * gb)
    s_g = tg / gg - gb_g * s_b
    s_r = tr / rr - rg_r * s_g - br_r * s_b
    told = (tr * tr / rr + tg * tg / gg + tb * s_b) / np.maximum(tt, np.float32(_EPSILON))
    offset = m_t - (s_r * m_r + s_g * m_g + s_b * m_b) + np.float32((1 - _GAIN) / 2)
    four = _windows(np.asarray(cv2.merge([s_r, s_g, s_b, offset * np.float32(255)]), np.float32))
    four = from_blocks(four, height, width)
    slope = np.asarray(cv2.cvtColor(four, cv2.COLOR_RGBA2RGB), np.float32)
    return Fit(slope, np.asarray(cv2.extractChannel(four, 3), np.float32), told)


def _apply(slope: F32, offset: F32, page: Tile, rgb: U8, alpha: U8) -> None:
    """Writes the runs of a page into ``alpha``."""
    products = page.zoom(slope)
    products *= page.gather(rgb)
    dots = cv2.transform(products, _ONES)
    page.scatter(np.asarray(cv2.add(dots, page.zoom(offset), dtype=cv2.CV_8U), np.uint8), alpha)


def clamp_haze(values: F32) -> F32:
    """``values`` (f32[h,w] in 0..1) without haze: what is nearly 0 or 1 is exactly that."""
    return np.asarray(np.clip((values - _LOW) * (1 / (_HIGH - _LOW)), 0, 1), np.float32)


_PRODUCTS = ((0, 0), (1, 1), (2, 2), (3, 3), (0, 1), (1, 2), (2, 0), (3, 0), (3, 1), (3, 2))


def _moments(colour: F32, target: F32) -> list[F32]:
    """Of the planes of ``colour`` (f32[h,w,3]) and ``target`` (f32[h,w]), sides even: the means over windows around the
    blocks, and of the ``_PRODUCTS`` of two of them the covariances, f32[h/2,w/2] each.
    """
    planes = [*(np.asarray(plane, np.float32) for plane in cv2.split(colour)), target]
    means = [_windows(block_means(plane)) for plane in planes]
    product = np.empty_like(target)
    for one, other in _PRODUCTS:
        np.multiply(planes[one], planes[other], out=product)
        mean = _windows(block_means(product))
        mean -= means[one] * means[other]
        means.append(mean)
    return means


def _windows(plane: F32) -> F32:
    side = 2 * _RADIUS + 1
    return np.asarray(cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)
