"""Masks of cells by their colors: thin parts, shadows, edges of the image, and faint additions to the subject."""

from __future__ import annotations

import cv2
import numpy as np

from clearcut.imaging.matting.edge_band import Mask
from clearcut.imaging.types import F32, U8

from .parts import NET_SOLID

_WINDOW3, _WINDOW5 = np.ones((3, 3), np.uint8), np.ones((5, 5), np.uint8)
_ONES = np.ones((1, 3), np.float32)
_THIN, _THIN_NET = 7, 13
"""Width in cells from which a part is not thin, in colors and in the network's matte."""
_THIN_SOLID = 9
"""Width in cells from which a part where the network's matte is solid is not thin."""
_CLEAR = 0.4
"""Difference from the background of a clear cell, as a share of the highest one nearby."""
_THIN_CONTRAST = 16
"""Least contrast of thin parts, in levels."""
_LARGE_ADDITION = 0.3
"""Least area of an addition to the network's subject, relative to it, that is examined as a shadow."""
_FAINT_ADDITION = 0.5
"""Median contrast of such an addition relative to the subject's, below which the network decides."""


def thin_parts(levels: U8, highest: U8, level: float, net: F32) -> Mask:
    """Return the cells of thin parts of high contrast, with the gaps between them, bool[h,w].

    In these cells the network's matte is too coarse: it fills gaps.

    Args:
        levels: difference from the background, u8[h,w].
        highest: highest value of ``levels`` near each cell, u8[h,w].
        level: difference from which a cell differs from the background.
        net: the network's matte, f32[h,w] from 0 to 1.
    """
    clear = (levels > np.maximum(level, np.float32(_CLEAR) * highest)).view(np.uint8)
    thick = cv2.morphologyEx(clear, cv2.MORPH_OPEN, np.ones((_THIN, _THIN), np.uint8))
    found = cv2.morphologyEx((net > 0.5).view(np.uint8), cv2.MORPH_OPEN, np.ones((_THIN_NET, _THIN_NET), np.uint8))
    solid = cv2.morphologyEx(
        (net > NET_SOLID).view(np.uint8), cv2.MORPH_OPEN, np.ones((_THIN_SOLID, _THIN_SOLID), np.uint8)
    )
    near = cv2.dilate(cv2.max(cv2.max(thick, found), solid), _WINDOW5)
    return np.asarray((near == 0) & (highest > _THIN_CONTRAST))


def shadow_like_cells(cells: U8, background: F32, tolerance: F32, darkest: F32) -> Mask:
    """Return the cells with the hue of the background and ``darkest`` (f32[h,w]) to 100 % of its brightness."""
    own = cells.astype(np.float32)
    power = cv2.transform(cv2.multiply(background, background), _ONES)
    share = cv2.divide(cv2.transform(cv2.multiply(own, background), _ONES), np.maximum(power, 1))
    own -= cv2.multiply(background, cv2.merge([share] * 3))
    return np.asarray((largest_channel(own) < tolerance) & (share > darkest) & (share < 1))


def sharp_cells(cells: U8, levels: U8) -> Mask:
    """Return the cells at edges: the color changes by most of the contrast within a few cells."""
    first, second, third = cv2.split(cv2.morphologyEx(cells, cv2.MORPH_GRADIENT, _WINDOW3))
    gradient = np.maximum(np.maximum(first, second), third)
    return np.asarray(gradient > np.maximum(10, 0.42 * cv2.dilate(levels, _WINDOW5).astype(np.float32)))


def faint_addition(subject: Mask, distance: F32, net: F32) -> Mask:
    """Return the large, faint part of the subject that only the colors show, bool[h,w].

    Such a part is the shadow of a transparent or colored subject: its hue is not the background's. A smaller or clearer
    part is not returned: all cells are False.
    """
    added, found = subject & (net < 0.15), subject & (net > 0.5)
    area = int(np.count_nonzero(found))
    if area == 0 or np.count_nonzero(added) < _LARGE_ADDITION * area:
        return np.zeros_like(subject)
    is_faint = float(np.median(distance[added])) < _FAINT_ADDITION * float(np.median(distance[found]))
    return added if is_faint else np.zeros_like(subject)


def largest_channel(difference: np.ndarray) -> F32:
    """Return the largest channel of the absolute ``difference`` f32[h,w,3], f32[h,w]."""
    first, second, third = cv2.split(difference)
    return np.asarray(np.maximum(np.maximum(np.abs(first), np.abs(second)), np.abs(third)), np.float32)
