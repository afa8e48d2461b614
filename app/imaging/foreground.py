"""The subject's own colour in the soft edge, where the photo shows a mixture with the old background.

After M. Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021 (blur fusion): the means of the
subject's and of the background's colours around a pixel are a first guess, what they leave unexplained of the
pixel's own colour corrects the subject's, and a second pass does it again. The paper weights the means by alpha; here
the weights fall steeply with alpha, so that the first guess comes from the purest pixels there are. The means are
taken on a grid of cells, the last correction on every pixel.

Compared on composites of keyed cut-outs at 640 x 512, mean error over 0 < alpha < 1 as a share of that of the photo's
own colour, edges of about two / about twenty pixels: blur fusion as published (windows of 90 and 6 pixels) 42 / 63 %,
with windows of 11 and 5 pixels 29 / 80 %; multi-level estimation (Germer et al., 2020) 27 / 45 %, some twenty times
slower; steep weights without the second pass 25 / 57 %; this 22 / 54 %.
"""

from __future__ import annotations

import cv2
import numpy as np

from app.imaging.band import Run, Zoom, grid_step, occupied, runs, strip_height, to_cells, undecided
from app.imaging.types import F32, U8

_STEEPNESS = 8
_FLOOR, _LEAST = 1e-6, 1e-9
"""Weight of a cell is alpha ** _STEEPNESS + _FLOOR * alpha + _LEAST: where nothing near is pure, the purest counts, and
where there is nothing at all of a thing thinner than a cell, what the picture shows.
"""
_NEAR_FAR_PIXELS, _NEAR_FAR_CELLS = (5, 21), (3, 11)
"""Sides of the two windows, in cells; a cell of a single pixel is small beside an edge and wants more of them."""
_FAR_SHARE = 0.01
"""Weight of the far window: it speaks where the near one holds nothing pure."""
_GAP_PIXELS = 96
"""How far apart the runs of a strip are at least."""
_STRIP = 96
"""Cells."""


def estimate_foreground(rgb: U8, alpha: U8, cells: U8 | None = None) -> U8:
    """``rgb`` (u8[H,W,3]) with the background's share taken out wherever 0 < ``alpha`` < 255 (u8[H,W]).

    A new array, bit-equal to ``rgb`` wherever alpha is 0 or 255. ``cells`` is ``rgb`` at the cells of its grid, if that
    is there already.
    """
    found = rgb.copy()
    step = grid_step(*alpha.shape)
    shares = to_cells(alpha, step)
    edge = undecided(shares > 0, shares == 255, 1)
    if not edge.any():
        return found
    coarse = to_cells(rgb, step) if cells is None else cells, shares, edge, _weights()
    # In strips, because what a strip needs stays in the processor's cache.
    for top in range(0, edge.shape[0], _STRIP):
        left, above, across, down = cv2.boundingRect(edge[top : top + _STRIP])
        if across:
            part = Run(top + above, top + above + down, left, left + across)
            _correct_part(part, step, coarse, (rgb, alpha, found))
    return found


def _correct_part(part: Run, step: int, coarse: tuple[U8, U8, U8, F32], fine: tuple[U8, U8, U8]) -> None:
    """Writes the colours of ``part``, a rectangle of cells, into the last of ``fine``."""
    cells, shares, edge, weight = coarse
    near, far = _NEAR_FAR_PIXELS if step == 1 else _NEAR_FAR_CELLS
    # As far around as the windows reach: beyond it nothing is read, so only the frame itself is a border.
    inner = part.grown(far // 2 + near // 2 + 1, *edge.shape)
    frame = inner.scaled(step, *fine[1].shape).area
    rgb, alpha, found = (plane[frame] for plane in fine)
    subject, excess = _colours(cells[inner.area], shares[inner.area], weight, near, far)
    high, gap = strip_height(step), _GAP_PIXELS // step
    for run in runs(occupied(edge[part.area], high), high, part.bottom - part.top, gap):
        zoom = Zoom(run.moved(part.top - inner.top, part.left - inner.left), step, subject.shape[:2], alpha.shape)
        here = alpha[zoom.target]
        corrected = _corrected(rgb[zoom.target], here, zoom(subject), zoom(excess))
        cv2.copyTo(corrected, cv2.inRange(here, 1, 254), found[zoom.target])


def _colours(rgb: U8, alpha: U8, weight: F32, near: int, far: int) -> tuple[F32, F32]:
    """The subject's colour and what it has more than the background's, f32[h,w,3] each, at the cells."""
    # All in four channels, which OpenCV works on faster than on three; the last one counts the weights.
    own = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA), np.uint8).astype(np.float32)
    ground, subject = (
        _mean_colour(own, np.asarray(table[alpha], np.float32), near, far) for table in (weight[::-1], weight)
    )
    # Once more from what the first guess makes of the cells themselves: an edge wider than a window holds no pure cell.
    share = alpha.astype(np.float32) * np.float32(1 / 255)
    four = cv2.merge([share, share, share, share])
    # own - ground - share (subject - ground), in as few new arrays as can be.
    unexplained = cv2.subtract(own, ground, dst=own)
    mixed = cv2.multiply(cv2.subtract(subject, ground), four)
    cv2.subtract(unexplained, mixed, dst=unexplained)
    guess = np.asarray(cv2.add(cv2.multiply(unexplained, four, dst=mixed), subject, dst=mixed), np.float32)
    subject = _mean_colour(guess, share * share + np.float32(_LEAST), near)
    excess = cv2.subtract(subject, ground, dst=ground)
    subject, excess = (np.asarray(cv2.cvtColor(each, cv2.COLOR_RGBA2RGB), np.float32) for each in (subject, excess))
    return subject, excess


def _weights() -> F32:
    """Weight of a cell as the subject's by its alpha 0..255; as the background's, read from the end."""
    share = np.arange(256) / 255
    return np.asarray(share**_STEEPNESS + _FLOOR * share + _LEAST, np.float32)


def _mean_colour(colour: F32, weight: F32, near: int, far: int | None = None) -> F32:
    """Weighted means of ``colour`` (f32[h,w,4], the last 255) around every cell, over both windows if there are two."""
    four = cv2.merge([weight, weight, weight, weight])
    sums = cv2.multiply(colour, four, dst=four)
    close = cv2.blur(sums, (near, near), borderType=cv2.BORDER_REFLECT)
    if far is not None:
        wide = cv2.blur(sums, (far, far), borderType=cv2.BORDER_REFLECT)
        cv2.addWeighted(close, 1, wide, _FAR_SHARE, 0, dst=close)
    scale = np.float32(255) / np.asarray(cv2.extractChannel(close, 3), np.float32)
    return np.asarray(cv2.multiply(close, cv2.merge([scale, scale, scale, scale]), dst=close), np.float32)


def _corrected(rgb: U8, alpha: U8, subject: F32, excess: F32) -> U8:
    """subject + alpha (rgb - alpha subject - (1 - alpha) ground), where ground = subject - excess.

    Which is ``rgb`` and subject + alpha excess, mixed by alpha. Writes into ``excess``.
    """
    share = alpha.astype(np.float32) * np.float32(1 / 255)
    three = cv2.merge([share, share, share])
    # In as few new arrays as can be: those of a large run come fresh from the system, page by page.
    other = cv2.add(cv2.multiply(excess, three, dst=excess), subject, dst=excess)
    difference = cv2.subtract(rgb, other, dtype=cv2.CV_32F)
    cv2.multiply(difference, three, dst=difference)
    return np.asarray(cv2.add(difference, other, dtype=cv2.CV_8U), np.uint8)
