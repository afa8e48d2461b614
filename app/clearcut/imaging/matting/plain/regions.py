"""Division of an image with a plain background into background, subject and doubtful cells.

The colors decide where they differ clearly from the background or equal it. The network's matte decides where colors
are ambiguous: in shadows and reflections, and where a subject has the color of the background.
``benchmarks/plain.py`` measures the result; the limits below are chosen with its tuning half.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from clearcut.imaging.matting.edge_band import Mask, Span
from clearcut.imaging.types import F32

from .background_field import ColorField
from .color_masks import faint_addition, shadow_like_cells, sharp_cells, thin_parts
from .comparison import Comparison
from .parts import Colors, connected_to_border, divide_subject, hole_parts, open_parts, rejected_parts
from .photo_frame import is_framed_photo

_WINDOW3, _WINDOW5 = np.ones((3, 3), np.uint8), np.ones((5, 5), np.uint8)
_MIN_BACKGROUND = 0.04
"""Minimum share of the cells that are background."""
_MIN_UNCLEAR_BACKGROUND = 0.2
"""Minimum share of background cells where something else covers a tenth of the border or more."""
_MAX_UNEXPLAINED = 0.06
"""Share of the border that neither the field nor the network's subject explains."""
_CLEAN_NOISE = 0.6
"""Noise in levels below which the image is a drawing, so that its border needs no such explanation."""
_JPEG_REACH = 10
"""Distance in pixels from an edge to which JPEG artifacts reach; blocks of color have 16 pixels."""
_JPEG_SHARE = 0.18
"""Maximum difference by artifacts as a share of the contrast of the edge."""
_THIN_SHARE = 0.4
"""Maximum of this share in thin parts."""
_DARKEST_SHADOW = 0.4
"""Minimum brightness of a shadow as a share of the background's."""
_DARKEST_MISSED = 0.22
"""Minimum of this share where the network finds nothing."""
_SHADOW_REACH = 15
"""Side, in cells, of the window around a shadow in which the network decides on weak colors."""
_LOW_CONTRAST = 36
"""Typical difference of the subject, in levels, below which the network is more reliable if it found the subject."""
_FOUND = 0.96
"""Share of the clear cells of such a subject that the network must have found."""
_TRUST = 0.65
"""Share of the clear cells of the subject, weighted by squared contrast, that the network must have found to decide on
all others."""
_LINES = np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]
_OUTSIDE = 0.1
"""Value of the network below which a cell with the color of the background needs no decision."""
_MARGIN = 10
"""Cells of the background around the part that is divided, as many as the widest window reaches."""


@dataclass(frozen=True, slots=True)
class Regions:
    """Masks of a part of the grid of cells, bool[h,w]; every cell is in exactly one of the first three.

    Outside the part all cells are background.
    """

    part: Span
    """The cells of the part on the whole grid."""
    background: Mask
    subject: Mask
    doubtful: Mask
    """Cells in which the network's matte decides."""
    shadow: Mask
    """Cells of the background that differ from it."""
    difference: F32
    """Color minus the background's color, f32[h,w,3] in levels."""
    colors: F32
    """The background's color, f32[h,w,3] in levels."""
    field: ColorField


def divide(net: F32, compared: Comparison, step: int, frame: tuple[int, int]) -> Regions | None:
    """Divide the grid; None if the background turns out not to be plain, or no subject is found.

    Args:
        net: the network's matte, f32[h,w] in 0..1.
        compared: the cells of the image, h x w.
        step: side of a cell in pixels.
        frame: rows and columns of cells that the whole image has. The grid may cover only a part of it.
    """
    field, noise, level = compared.field, compared.noise, compared.level
    equals_background = compared.equals_background
    whole, part = net.shape, subject_part(equals_background, net).grown(_MARGIN, *net.shape)
    area = part.area
    net, cells, equals_background = net[area], compared.cells[area], equals_background[area]
    background, difference, distance = compared.background[area], compared.difference[area], compared.distance[area]
    # JPEG artifacts around a part of high contrast differ from the background, too.
    reach = 2 * -(-_JPEG_REACH // step) + 1
    levels = np.asarray(cv2.convertScaleAbs(distance), np.uint8)
    highest = np.asarray(cv2.dilate(levels, np.ones((reach, reach), np.uint8)), np.uint8)
    blur = np.float32(_JPEG_SHARE) * highest
    thin = thin_parts(levels, highest, level, net)
    background_like = equals_background | ((distance < blur) & ((net < 0.7) | thin))
    tolerance = np.maximum(blur, max(4.0, 4 * noise) + np.float32(0.06) * distance)
    shadow = shadow_like_cells(
        cells, background, tolerance, np.where(net < 0.15, np.float32(_DARKEST_MISSED), np.float32(_DARKEST_SHADOW))
    )
    sharp = sharp_cells(cells, levels)
    passable = shadow & (net < 0.8) & ~sharp
    for line in _LINES:
        passable[line] = False  # a shadow does not begin at the border
    outside = connected_to_border(background_like | passable)
    if not _is_plausible(outside, background_like, net, field, frame):
        return None
    if is_framed_photo(~outside, sharp, cells, background, net, part, whole):
        return None
    differs = distance[~outside & ~background_like]
    if differs.size < 8:
        return None
    differs = differs[:: max(1, differs.size // 4000)]
    typical = float(np.partition(differs, 3 * differs.size // 4)[3 * differs.size // 4])
    colors = Colors(difference, distance, noise, level, typical, float(field.coefficients[0].mean()))
    clear = ~outside & ~background_like & ~passable & (distance >= np.float32(0.4 * typical))
    # A network that misses most of the subject does not decide on the enclosed parts.
    contrast = distance[clear] ** 2
    has_found = float(contrast[net[clear] > 0.5].sum()) > _TRUST * float(contrast.sum())
    if not has_found:
        # Otherwise a gray area of a print that touches the edge is lost through a gap of a cell in that edge.
        wide_passages = cv2.morphologyEx(passable.view(np.uint8), cv2.MORPH_OPEN, _WINDOW3) > 0
        outside = _without_leaks(outside, connected_to_border(background_like | wide_passages), wide_passages)
    near_gaps = cv2.dilate((background_like & thin & ~outside).view(np.uint8), _WINDOW3) > 0
    background_like |= near_gaps & thin & (distance < np.float32(_THIN_SHARE) * highest)
    holes, rejected, undecided_holes = hole_parts(background_like & ~outside, colors, net, thin)
    excluded = outside | holes
    undecided = open_parts(outside & background_like & (net > 0.6), colors, net)
    if has_found:
        excluded |= rejected
        excluded |= rejected_parts((background_like | passable) & ~excluded, equals_background, net)
        undecided |= undecided_holes
    subject = ~excluded
    parts = divide_subject(subject, shadow, sharp, colors, net)
    if typical < _LOW_CONTRAST and parts.agreement > _FOUND:
        return None
    subject &= ~parts.noise
    weak = shadow | (distance < np.where(net < 0.15, np.float32(0.6 * typical), np.float32(0.35 * typical)))
    if not has_found:
        weak &= parts.found
    weak &= subject & (net < 0.9)
    # Away from thick parts and from shadows, single weak cells are the edges of thin parts.
    thick = cv2.dilate(cv2.morphologyEx(subject.view(np.uint8), cv2.MORPH_OPEN, _WINDOW5), _WINDOW5) > 0
    areas = cv2.morphologyEx(weak.view(np.uint8), cv2.MORPH_OPEN, _WINDOW3) > 0
    shadow_areas = cv2.morphologyEx((excluded & ~background_like).view(np.uint8) | areas, cv2.MORPH_OPEN, _WINDOW3)
    near_shadow = cv2.dilate(shadow_areas, np.ones((_SHADOW_REACH, _SHADOW_REACH), np.uint8)) > 0
    doubtful = (weak & (thick | near_shadow)) | (subject & parts.faint)
    if has_found:
        doubtful |= faint_addition(subject, distance, net)
    doubtful = ((cv2.dilate(doubtful.view(np.uint8), _WINDOW3) > 0) & subject) | undecided
    subject &= ~doubtful
    if not subject.any():
        return None
    background_mask = ~subject & ~doubtful
    shadows = cv2.morphologyEx((background_mask & ~background_like).view(np.uint8), cv2.MORPH_OPEN, _WINDOW3) > 0
    return Regions(part, background_mask, subject, doubtful, shadows, difference, background, field)


def _without_leaks(outside: Mask, connected: Mask, wide_passages: Mask) -> Mask:
    """Return the parts of ``outside`` that are connected through wide passages, bool[h,w].

    Args:
        connected: cells that are connected to the border through wide passages.
        wide_passages: cells in passages of at least three cells. A further part that holds such a cell is a leak.
    """
    count, labels = cv2.connectedComponents((outside & ~connected).view(np.uint8), connectivity=4)
    leak = np.zeros(count, np.bool_)
    leak[labels[wide_passages & ~connected]] = True
    leak[0] = True
    return np.asarray(connected | ~leak[labels])


def subject_part(equals_background: Mask, net: F32) -> Span:
    """Return the rectangle of the cells that differ from the background or are in the network's matte.

    The other cells are connected to the border, so that the division of the part does not depend on them.
    """
    left, top, width, height = cv2.boundingRect((~equals_background | (net > _OUTSIDE)).view(np.uint8))
    return Span(top, top + height, left, left + width)


def _is_plausible(outside: Mask, background_like: Mask, net: F32, field: ColorField, frame: tuple[int, int]) -> bool:
    """Return whether ``outside`` (bool[h,w]) can be a plain background: a part of an image of ``frame`` cells."""
    cells = frame[0] * frame[1]
    share = 1 - (outside.size - np.count_nonzero(outside)) / cells
    if share < (_MIN_BACKGROUND if field.share >= 0.9 else _MIN_UNCLEAR_BACKGROUND):
        return False
    # A line of the part within the frame has only cells with the color of the background.
    unexplained = sum(np.count_nonzero(~outside[line] & ~background_like[line] & (net[line] < 0.3)) for line in _LINES)
    is_drawing = field.noise < _CLEAN_NOISE and float(net.max()) >= 0.5
    return bool(unexplained <= _MAX_UNEXPLAINED * 2 * sum(frame)) or is_drawing
