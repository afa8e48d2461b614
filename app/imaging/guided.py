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

A network of 23 thousand weights that corrects the fit at the cells, taught with the mattes of three networks (commit
50a6e5b), brought the benchmark's gradient error from -15 to -18 % to -21 to -25 %, but took 1.2 ms more at a megapixel,
lost a tenth more of the subject where a network is unsure of people, and left the served figures no better: not kept.

Of the summed change, GrabCut on the grid costs 42 and 55 % in gradient; closed-form matting gains 8 and 11 %, and 4 and
19 % in SAD, in seconds. All gain little where the network is wrong about what the subject is: benchmarks/finishing.py.
"""

from __future__ import annotations

import cv2
import numpy as np

from app.imaging.band import Run, Zoom, occupied, runs, to_cells, undecided
from app.imaging.types import F32, U8

_GRID_SIDE = 288
"""Cells along the longer side of the grid that the coefficients are fitted on, about."""
_RADIUS = 4
"""Half width of a fitting window, in cells."""
_EPSILON = 1e-4
"""Variance of colour (of 0..1) below which a window is flat and its mean holds."""
_GAIN = 1.3
"""Contrast around one half: the network's ramps are wider than the picture's edges."""
_LOW, _HIGH = 0.05, 0.95
"""What the network leaves below and above is haze, and squashed to exactly 0 and 255."""
_REACH = 2
"""How far, in cells, an edge of the picture may lie from the network's."""
_TILE_PIXELS = 64
_STRIP = 128
"""Cells."""


def upsample(values: F32, rgb: U8) -> U8:
    """The matte ``values`` (f32[h,w] in 0..1) of the whole picture ``rgb`` (u8[H,W,3]) as u8[H,W].

    255 exactly wherever the network is decided on the subject a few cells around, 0 exactly on the background.
    """
    height, width = rgb.shape[:2]
    step = max(1, min(round(max(height, width) / _GRID_SIDE), height, width))
    small = _at_cells(values, step, height, width)
    solid = small >= 1
    edge = undecided(small > 0, solid, _REACH)
    tile = max(1, _TILE_PIXELS // step)
    active = occupied(edge, tile)
    alpha = np.zeros((height, width), np.uint8)
    for run in runs(occupied(solid.view(np.uint8), tile) & ~active, tile, *small.shape):
        alpha[run.scaled(step, height, width).area] = 255
    if not active.any():
        return alpha
    slope = np.zeros((*small.shape, 3), np.float32)
    offset = solid * np.float32(255)
    # In strips, because what a strip needs stays in the processor's cache.
    for top in range(0, small.shape[0], _STRIP):
        left, above, across, down = cv2.boundingRect(edge[top : top + _STRIP])
        if across:
            part = Run(top + above, top + above + down, left, left + across)
            around = part.grown(2 * _RADIUS, *small.shape)
            guide = to_cells(rgb[around.scaled(step, height, width).area], step)
            fit = coefficients(guide, small[around.area])
            # Decided cells hold their value whatever the picture shows: no haze and no holes.
            core = part.moved(-around.top, -around.left).area
            for plane, fitted in zip((slope, offset), fit, strict=True):
                cv2.copyTo(fitted[core], edge[part.area], plane[part.area])
    for run in runs(active, tile, *small.shape):
        _apply(slope, offset, Zoom(run, step, small.shape, (height, width)), rgb, alpha)
    return alpha


def coefficients(guide: U8, target: F32) -> tuple[F32, F32]:
    """f32[h,w,3] slope and f32[h,w] offset that bring ``guide`` (u8[h,w,3]) to ``target`` (f32[h,w] in 0..1).

    slope . guide + offset is the target in 0..255, its contrast raised.
    """
    unit = guide.astype(np.float32) * np.float32(1 / 255)
    r, g, b = (np.asarray(plane, np.float32) for plane in cv2.split(unit))
    m_r, m_g, m_b, m_t = _mean(r), _mean(g), _mean(b), _mean(target)
    rr = _mean(r * r) - m_r * m_r + np.float32(_EPSILON)
    gg = _mean(g * g) - m_g * m_g + np.float32(_EPSILON)
    bb = _mean(b * b) - m_b * m_b + np.float32(_EPSILON)
    rg, gb, br = _mean(r * g) - m_r * m_g, _mean(g * b) - m_g * m_b, _mean(b * r) - m_b * m_r
    tr, tg, tb = _mean(target * r) - m_t * m_r, _mean(target * g) - m_t * m_g, _mean(target * b) - m_t * m_b
    # The inverse of the symmetric 3 x 3 covariance by its adjugate.
    i_rr, i_gg, i_bb = gg * bb - gb * gb, rr * bb - br * br, rr * gg - rg * rg
    i_rg, i_rb, i_gb = br * gb - rg * bb, rg * gb - gg * br, rg * br - rr * gb
    scale = np.float32(_GAIN) / (rr * i_rr + rg * i_rg + br * i_rb)
    s_r = (i_rr * tr + i_rg * tg + i_rb * tb) * scale
    s_g = (i_rg * tr + i_gg * tg + i_gb * tb) * scale
    s_b = (i_rb * tr + i_gb * tg + i_bb * tb) * scale
    offset = m_t * np.float32(_GAIN) - (s_r * m_r + s_g * m_g + s_b * m_b) + np.float32((1 - _GAIN) / 2)
    slope = cv2.merge([_mean(s_r), _mean(s_g), _mean(s_b)])
    return np.asarray(slope, np.float32), _mean(offset) * np.float32(255)


def _apply(slope: F32, offset: F32, zoom: Zoom, rgb: U8, alpha: U8) -> None:
    """Writes one run of grid cells into ``alpha``."""
    products = cv2.multiply(zoom(slope), rgb[zoom.target].astype(np.float32))
    dots = cv2.transform(products, np.ones((1, 3), np.float32))
    alpha[zoom.target] = cv2.add(dots, zoom(offset), dtype=cv2.CV_8U)


def _at_cells(values: F32, step: int, height: int, width: int) -> F32:
    """``values`` at the centres of the grid's cells, haze squashed; the last cells may hang over the frame."""
    if step == 1:
        shrinks = height * width < values.size
        mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        small = cv2.resize(values, (width, height), interpolation=mode)
    else:
        # A source point is (cell + 1/2) * step * scale - 1/2, the convention of cv2.resize.
        x, y = step * values.shape[1] / width, step * values.shape[0] / height
        places = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cells = (-(-width // step), -(-height // step))
        small = cv2.warpAffine(values, places, cells, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip((small - _LOW) * (1 / (_HIGH - _LOW)), 0, 1), np.float32)


def _mean(plane: F32) -> F32:
    side = 2 * _RADIUS + 1
    return np.asarray(cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)
