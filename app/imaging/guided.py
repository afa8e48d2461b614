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
(``models/training/edges.py``). With it, on held-out composites and the mattes of three networks, -29 / -18, -19 / -13
and -25 / -16 where this alone has -29 / -8, -19 / -3 and -25 / -5.

Of the summed change, GrabCut on the grid costs 42 and 55 % in gradient; closed-form matting gains 8 and 11 %, and 4 and
19 % in SAD, in seconds. All gain little where the network is wrong about what the subject is: benchmarks/finishing.py.
"""

from __future__ import annotations

import cv2
import numpy as np

from app.imaging.band import Run, Zoom, grid_step, occupied, runs, strip_height, to_cells, undecided
from app.imaging.types import F32, U8, EdgeModel

_PAIR = 2
"""Cells along the side of a block that the statistics of the fit see as one."""
_RADIUS = 2
"""Half width of a fitting window, in blocks."""
_HALO = 12
"""Cells around a cell that its coefficients depend on, at most: two windows and an interpolation between blocks. The
edge model would look farther, up to 31 cells; at the rim of the part that is worked on it is cut short.
"""
_EPSILON = 1e-4
"""Variance of colour (of 0..1) below which a window is flat and its mean holds."""
_GAIN = 1.3
"""Contrast around one half: the network's ramps are wider than the picture's edges."""
_LOW, _HIGH = 0.05, 0.95
"""What the network leaves below and above is haze, and squashed to exactly 0 and 255."""
REACH = 2
"""How far, in cells, an edge of the picture may lie from the network's."""
BALANCE = 13
"""Side of the window, in cells, over whose undecided cells the mean of what the edge model adds is taken out."""
_BLOCK = 4
"""Cells that the part of the grid that is worked on is a multiple of: the edge model sees blocks of so many."""
_GAP_PIXELS = 96
"""How far apart the runs of a strip are at least."""
_AXES = (np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])).astype(np.float32)
"""f32[3,3], orthonormal rows: brightness and two opponent colours of a red, green and blue."""


def upsample(values: F32, rgb: U8, edges: EdgeModel | None = None, cells: U8 | None = None) -> U8:
    """The matte ``values`` (f32[h,w] in 0..1) of the whole picture ``rgb`` (u8[H,W,3]) as u8[H,W].

    255 exactly wherever the network is decided on the subject a few cells around, 0 exactly on the background.
    ``edges`` corrects the fit between the two; ``cells`` is ``rgb`` at the cells of its grid, if that is there already.
    """
    height, width = rgb.shape[:2]
    step = grid_step(height, width)
    raw = _at_cells(values, step, height, width)
    small = squashed(raw)
    solid = small >= 1
    edge = undecided(small > 0, solid, REACH)
    high, gap = strip_height(step), _GAP_PIXELS // step
    # And the cells around: half of a decided cell takes part in the interpolation to an undecided one beside it.
    active = occupied(np.asarray(cv2.dilate(edge, np.ones((3, 3), np.uint8)), np.uint8), high)
    alpha = np.zeros((height, width), np.uint8)
    # Between solid and empty cells of a strip's column there is an edge: a column without one is all of one kind.
    for run in runs(occupied(solid.view(np.uint8), high) & ~active, high, small.shape[0]):
        alpha[run.scaled(step, height, width).area] = 255
    if not active.any():
        return alpha
    left, above, across, down = cv2.boundingRect(edge)
    part = Run(above, above + down, left, left + across).grown(_HALO, *small.shape).snapped(_BLOCK, *small.shape)
    slope = np.zeros((*small.shape, 3), np.float32)
    offset = solid * np.float32(255)
    area = part.area
    guide = to_cells(rgb[part.scaled(step, height, width).area], step) if cells is None else cells[area]
    # Decided cells hold their value whatever the picture shows: no haze and no holes.
    for plane, fitted in zip((slope, offset), coefficients(guide, small[area]), strict=True):
        cv2.copyTo(fitted, edge[area], plane[area])
    if edges is not None:
        _correct(slope[area], offset[area], guide, raw[area], edge[area], edges)
    for run in runs(active, high, small.shape[0], gap):
        _apply(slope, offset, Zoom(run, step, small.shape, (height, width)), rgb, alpha)
    return alpha


def _correct(slope: F32, offset: F32, guide: U8, raw: F32, edge: U8, edges: EdgeModel) -> None:
    """Adds to ``offset`` what ``edges`` says at the cells of ``edge``; the slope, which holds the detail, stays.

    The model moves edges and does not judge regions: what it adds around a cell on average is taken out.
    """
    dots = cv2.transform(cv2.multiply(slope, guide, dtype=cv2.CV_32F), np.ones((1, 3), np.float32))
    fitted = np.asarray(cv2.add(dots, offset), np.float32) * np.float32(1 / 255)
    mask = edge.astype(np.float32)
    added = edges(guide, raw, fitted) * mask
    sums, weights = (cv2.blur(plane, (BALANCE, BALANCE), borderType=cv2.BORDER_REPLICATE) for plane in (added, mask))
    added -= sums / np.maximum(weights, np.float32(1e-6))
    cv2.copyTo(np.asarray(offset + np.float32(255) * added, np.float32), edge, offset)


def coefficients(guide: U8, target: F32) -> tuple[F32, F32]:
    """f32[h,w,3] slope and f32[h,w] offset that bring ``guide`` (u8[h,w,3]) to ``target`` (f32[h,w] in 0..1).

    slope . guide + offset is the target in 0..255, its contrast raised. The fit is made once for every block of 2 x 2
    cells, from the statistics of all of them (He and Sun's subsampling), and is linear between blocks: in half the time
    the gradient error of the benchmark came out up to two points lower than with a fit for every cell, u2netp's SAD
    one point higher.
    """
    height, width = target.shape
    below, right = height % _PAIR, width % _PAIR
    if below or right:
        guide = np.asarray(cv2.copyMakeBorder(guide, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
        target = np.asarray(cv2.copyMakeBorder(target, 0, below, 0, right, cv2.BORDER_REPLICATE), np.float32)
    # Along brightness and two opponent colours: in red, green and blue the inverse below would cancel on grey pictures.
    turned = np.asarray(cv2.transform(guide.astype(np.float32), _AXES * np.float32(1 / 255)), np.float32)
    x, y, z = (np.asarray(plane, np.float32) for plane in cv2.split(turned))
    m_x, m_y, m_z, m_t = _mean(x), _mean(y), _mean(z), _mean(target)
    xx = _mean(x * x) - m_x * m_x + np.float32(_EPSILON)
    yy = _mean(y * y) - m_y * m_y + np.float32(_EPSILON)
    zz = _mean(z * z) - m_z * m_z + np.float32(_EPSILON)
    xy, yz, zx = _mean(x * y) - m_x * m_y, _mean(y * z) - m_y * m_z, _mean(z * x) - m_z * m_x
    tx, ty, tz = _mean(target * x) - m_t * m_x, _mean(target * y) - m_t * m_y, _mean(target * z) - m_t * m_z
    # The inverse of the symmetric 3 x 3 covariance by its adjugate.
    i_xx, i_yy, i_zz = yy * zz - yz * yz, xx * zz - zx * zx, xx * yy - xy * xy
    i_xy, i_xz, i_yz = zx * yz - xy * zz, xy * yz - yy * zx, xy * zx - xx * yz
    scale = np.float32(_GAIN) / (xx * i_xx + xy * i_xy + zx * i_xz)
    s_x = (i_xx * tx + i_xy * ty + i_xz * tz) * scale
    s_y = (i_xy * tx + i_yy * ty + i_yz * tz) * scale
    s_z = (i_xz * tx + i_yz * ty + i_zz * tz) * scale
    offset = m_t * np.float32(_GAIN) - (s_x * m_x + s_y * m_y + s_z * m_z) + np.float32((1 - _GAIN) / 2)
    s_r, s_g, s_b = (s_x * axis[0] + s_y * axis[1] + s_z * axis[2] for axis in _AXES.T)
    four = _windows(np.asarray(cv2.merge([s_r, s_g, s_b, offset * np.float32(255)]), np.float32))
    four = np.asarray(cv2.resize(four, target.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)[:height, :width]
    slope = cv2.cvtColor(four, cv2.COLOR_RGBA2RGB)
    return np.asarray(slope, np.float32), np.asarray(cv2.extractChannel(four, 3), np.float32)


def _apply(slope: F32, offset: F32, zoom: Zoom, rgb: U8, alpha: U8) -> None:
    """Writes one run of grid cells into ``alpha``."""
    products = zoom(slope)
    cv2.multiply(products, rgb[zoom.target], dst=products, dtype=cv2.CV_32F)
    dots = cv2.transform(products, np.ones((1, 3), np.float32))
    alpha[zoom.target] = cv2.add(dots, zoom(offset), dtype=cv2.CV_8U)


def squashed(values: F32) -> F32:
    """``values`` (f32[h,w] in 0..1) without haze: what is nearly 0 or 1 is exactly that."""
    return np.asarray(np.clip((values - _LOW) * (1 / (_HIGH - _LOW)), 0, 1), np.float32)


def _at_cells(values: F32, step: int, height: int, width: int) -> F32:
    """``values`` at the centres of the grid's cells; the last cells may hang over the frame."""
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
    return np.asarray(small, np.float32)


def _mean(plane: F32) -> F32:
    """f32[h,w], sides even, to its means over windows around the blocks, f32[h/2,w/2]."""
    height, width = plane.shape
    blocks = cv2.resize(plane, (width // _PAIR, height // _PAIR), interpolation=cv2.INTER_AREA)
    return _windows(np.asarray(blocks, np.float32))


def _windows(plane: F32) -> F32:
    side = 2 * _RADIUS + 1
    return np.asarray(cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)
