"""The subject's own colour in the soft edge, where the photo shows a mixture with the old background.

After M. Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021 (blur fusion): the means of the
subject's and of the background's colours around a pixel are a first guess, and what they leave unexplained of the
pixel's own colour corrects the subject's. The paper weights the means by alpha and needs a second pass to get the
background out of them; weights that fall steeply with alpha take the colour from (nearly) pure pixels and need one.
The means are taken on a grid of cells, the correction on every pixel.

Compared on composites of keyed cut-outs (mean error over 0 < alpha < 1 as a share of that of the photo's own colour;
edges of about two pixels / of about twenty): blur fusion as published, windows of 90 and 6 pixels, 42 % / 63 %, of 11
and 5 pixels 29 % / 80 %; multi-level estimation (Germer et al., 2020) 30 % / 45 %, about sixty times slower; this
one 27 % / 57 %.
"""

from __future__ import annotations

import cv2
import numpy as np

from app.imaging.band import Run, Zoom, occupied, runs, to_cells, undecided
from app.imaging.types import F32, U8

_STEEPNESS = 8
_FLOOR = 1e-6
"""Weight of a cell is alpha ** _STEEPNESS + _FLOOR * alpha: where nothing near is pure, the purest counts."""
_NEAR, _FAR = 5, 21
"""Sides of the two windows, in cells."""
_FAR_SHARE = 0.01
"""Weight of the far window: it speaks where the near one holds nothing pure."""
_GRID_SIDE = 640
"""Cells along the longer side of the picture, about; a cell is one pixel at least."""
_TILE_PIXELS = 64
_STRIP = 64
"""Cells."""


def estimate_foreground(rgb: U8, alpha: U8) -> U8:
    """``rgb`` (u8[H,W,3]) with the background's share taken out wherever 0 < ``alpha`` < 255 (u8[H,W]).

    A new array, bit-equal to ``rgb`` wherever alpha is 0 or 255.
    """
    found = rgb.copy()
    height, width = alpha.shape
    step = max(1, min(round(max(height, width) / _GRID_SIDE), height, width))
    cells = to_cells(alpha, step)
    edge = undecided(cells > 0, cells == 255, 1)
    weight = _weights()
    # In strips, because what a strip needs stays in the processor's cache.
    for top in range(0, cells.shape[0], _STRIP):
        left, above, across, down = cv2.boundingRect(edge[top : top + _STRIP])
        if across:
            part = Run(top + above, top + above + down, left, left + across)
            _correct_part(part, step, (cells, edge, weight), (rgb, alpha, found))
    return found


def _correct_part(part: Run, step: int, coarse: tuple[U8, U8, F32], fine: tuple[U8, U8, U8]) -> None:
    """Writes the colours of ``part``, a rectangle of cells, into the last of ``fine``."""
    cells, edge, weight = coarse
    # As far around as a window reaches: beyond it nothing is read, so only the frame itself is a border.
    inner = part.grown(_FAR // 2 + 1, *cells.shape)
    frame = inner.scaled(step, *fine[1].shape).area
    rgb, alpha, found = (plane[frame] for plane in fine)
    opaque = cv2.cvtColor(to_cells(rgb, step), cv2.COLOR_RGB2RGBA).astype(np.float32)
    ground = _mean_colour(opaque, weight[::-1][cells[inner.area]])
    excess = _mean_colour(opaque, weight[cells[inner.area]]) - ground
    tile = max(1, _TILE_PIXELS // step)
    for run in runs(occupied(edge[part.area], tile), tile, part.bottom - part.top, part.right - part.left):
        zoom = Zoom(run.moved(part.top - inner.top, part.left - inner.left), step, ground.shape[:2], alpha.shape)
        here = alpha[zoom.target]
        corrected = _corrected(rgb[zoom.target], here, zoom(ground), zoom(excess))
        cv2.copyTo(corrected, cv2.inRange(here, 1, 254), found[zoom.target])


def _weights() -> F32:
    """Weight of a cell as the subject's by its alpha 0..255; as the background's, read from the end."""
    share = np.arange(256) / 255
    return np.asarray(share**_STEEPNESS + _FLOOR * share, np.float32)


def _mean_colour(opaque: F32, weight: F32) -> F32:
    """f32[h,w,3] in 0..255: the weighted mean of ``opaque`` (f32[h,w,4], its alpha 255) around every cell."""
    weighted = cv2.multiply(opaque, cv2.merge([weight, weight, weight, weight]))
    near = cv2.blur(weighted, (_NEAR, _NEAR), borderType=cv2.BORDER_REFLECT)
    far = cv2.blur(weighted, (_FAR, _FAR), borderType=cv2.BORDER_REFLECT)
    r, g, b, total = cv2.split(cv2.addWeighted(near, 1, far, _FAR_SHARE, 0))
    scale = np.float32(255) / (np.asarray(total, np.float32) + np.float32(1e-12))
    return np.asarray(cv2.multiply(cv2.merge([r, g, b]), cv2.merge([scale, scale, scale])), np.float32)


def _corrected(rgb: U8, alpha: U8, ground: F32, excess: F32) -> U8:
    """subject + alpha (rgb - alpha subject - (1 - alpha) ground), where subject = ground + excess."""
    share = alpha.astype(np.float32) * np.float32(1 / 255)
    three = np.asarray(cv2.merge([share, share, share]), np.float32)
    mixture = ground + three * excess
    return np.asarray(cv2.add(ground + excess, three * (rgb.astype(np.float32) - mixture), dtype=cv2.CV_8U), np.uint8)
