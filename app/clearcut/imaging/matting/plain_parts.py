"""Connected parts of a grid of cells in front of a plain background: holes, open parts, parts of the subject."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from clearcut.imaging.types import F32

from .background_field import upper_median
from .edge_band import Mask

_WINDOW3, _WINDOW5, _WINDOW7 = (np.ones((side, side), np.uint8) for side in (3, 5, 7))
_SPECK = 12
"""Maximum cells of a part that is noise if it hardly differs from the background."""
_TINY = 4
"""The same for parts in the network's matte, such as noise in a hole that the network has filled."""
_MIN_SHARP = 0.5
"""Share of the rim of a part that is an edge of the image, if the network has not found the part. A light on a wall has
no such edge."""
_MAX_PARTS = 100
"""Maximum parts that are examined; further ones stay subject."""
_MIN_HUE = 0.1
"""Share of the clear cells whose hue must differ from a shadow's, if only those are to be compared with the network."""
_AGREEMENT = 0.85
"""Share of the clear cells of the subject that the network must have found to reject faint parts."""
_HOLE = 0.7, 0.9
"""Maximum difference of a hole's mean color from the background, in levels or in deviations of the noise."""
_LEAST_CORE = 20
"""Minimum cells of a part that has an inner part of six cells."""
_SMALL_GAP = 60
"""Maximum cells of a gap among thin parts; a larger one is examined like other holes."""
_MIN_GAP = 10
"""Minimum contrast of the parts around such a gap, in levels."""
_GAP, _SURE_GAP = 0.25, 0.15
"""Maximum difference of its nearest cell from the background, as a share of this contrast; the latter where the network
is sure of the subject."""
_CLEAR = 0.25
"""Minimum difference from the background of the parts around a gap, as a share of the typical difference."""
_SURE = 0.8
"""Mean of the network's matte in a part from which the network is sure of the subject."""
_SURE_HOLE = 0.33, 0.9
"""The same where the network is sure of the subject."""
_CERTAIN = 0.99
"""Mean of the network's matte in a part from which the network is certain of the subject."""
_CERTAIN_HOLE = 0.3, 0.5
"""The same where the network is certain of the subject."""
_UNSURE = 0.22
"""Mean of the network's matte in a large part from which the network is not sure of the background, if the colors
differ from it too."""
_WEAK_CONTRAST = 60
"""Typical difference of the subject, in levels, below which a sure network decides on open parts."""


@dataclass(frozen=True, slots=True)
class Colors:
    """The cells compared with the background."""

    difference: F32
    """Color minus the background's color, f32[h,w,3] in levels."""
    distance: F32
    """Largest channel of the difference, f32[h,w] in levels."""
    noise: float
    """Deviation of background cells in levels."""
    level: float
    """Distance from which a cell differs from the background."""
    typical: float
    """Upper quartile of the distance of cells that differ."""


@dataclass(frozen=True, slots=True)
class SubjectParts:
    """Properties of the connected parts of the subject, bool[h,w] each."""

    noise: Mask
    """Not in the network's matte, and either small and hardly different from the background or without clear edges."""
    faint: Mask
    """Without clear colors and not in the network's matte, beside a subject that the network has found."""
    found: Mask
    """In the network's matte for the most part."""
    agreement: float
    """Share of the cells with clear colors that are in the network's matte, 0..1."""


def connected_to_border(mask: Mask) -> Mask:
    """Return the parts of ``mask`` that touch the border of the frame."""
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
    touching = np.zeros(count, np.bool_)
    for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        touching[line] = True
    touching[0] = False
    return np.asarray(touching[labels])


def hole_parts(candidates: Mask, colors: Colors, net: F32, thin: Mask) -> tuple[Mask, Mask, Mask]:
    """Return the enclosed parts that are holes: equal to the background inside a clear edge.

    The second result are the other parts that the network takes for background. The third are the large ones of them
    for which neither the network nor the colors are sure.
    """
    if not candidates.any():
        return candidates, candidates, candidates
    mask = candidates.view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    chosen, empty, unclear = np.zeros((3, count), np.bool_)
    mine, area = labels[candidates], stats[:, cv2.CC_STAT_AREA]
    means, thin_share = (np.bincount(mine, each[candidates], count) / area for each in (net, thin))
    for number in _largest_parts(stats, 1):
        window = _window(stats[number])
        part = (labels[window] == number).view(np.uint8)
        mean_net, is_thin = float(means[number]), thin_share[number] > 0.5
        if area[number] <= _SMALL_GAP and is_thin:
            share = _GAP if mean_net < _SURE else _SURE_GAP
            chosen[number] = _is_gap(part, candidates[window], colors, window, share)
            continue
        core = part > 0
        if area[number] >= _LEAST_CORE:
            inner = cv2.erode(part, _WINDOW3) > 0
            core = inner if np.count_nonzero(inner) >= 6 else core
        limit = _HOLE if mean_net < _SURE else _SURE_HOLE if mean_net < _CERTAIN else _CERTAIN_HOLE
        chosen[number] = _is_background(part, core, candidates[window], colors, window, limit)
        if mean_net < 0.4 and not chosen[number]:
            empty[number] = True
            spread = float(upper_median(colors.distance[window][core]))
            is_large = area[number] > _SMALL_GAP and not is_thin
            unclear[number] = is_large and mean_net > _UNSURE and spread > colors.level + 2 * colors.noise
    return _select(chosen, labels), _select(empty, labels), _select(unclear, labels)


def open_parts(candidates: Mask, colors: Colors, net: F32) -> Mask:
    """Return the open parts in the network's matte that may be subject: they are no gap with the background behind.

    Without them a white subject on white would lose its surface.
    """
    core = cv2.erode(candidates.view(np.uint8), _WINDOW5) > 0
    if not core.any():
        return core  # the network's matte is a few cells wider than the subject
    count, labels, stats, _ = cv2.connectedComponentsWithStats(candidates.view(np.uint8), connectivity=4)
    chosen = np.zeros(count, np.bool_)
    for number in _largest_parts(stats, 25):
        window = _window(stats[number])
        part = (labels[window] == number).view(np.uint8)
        inner = core[window] & (part > 0)
        if inner.any():
            is_sure = colors.typical < _WEAK_CONTRAST and float(net[window][part > 0].mean()) > _SURE
            chosen[number] = is_sure or not _is_background(part, inner, candidates[window], colors, window)
    return np.asarray(chosen[labels])


def rejected_parts(candidates: Mask, same: Mask, net: F32) -> Mask:
    """Return the enclosed parts, shadows included, that the network takes for background.

    Part of them must have the color of the background (``same``): print on a cover does not.
    """
    if not candidates.any():
        return candidates
    count, labels = cv2.connectedComponents(candidates.view(np.uint8), connectivity=4)
    mine = labels[candidates]
    area = np.maximum(np.bincount(mine, minlength=count), 1)
    mean, share = (np.bincount(mine, each[candidates], count) / area for each in (net, same))
    rejected = (mean < 0.4) & (share > 0.2)
    rejected[0] = False
    return np.asarray(rejected[labels])


def divide_subject(subject: Mask, shadow: Mask, sharp: Mask, colors: Colors, net: F32) -> SubjectParts:
    """Return the properties of the parts of ``subject``, bool[h,w].

    Args:
        shadow: cells that may be shadow; ``sharp``: cells at edges of the image.
        net: the network's matte, f32[h,w] in 0..1.
    """
    count, labels = cv2.connectedComponents(subject.view(np.uint8), connectivity=8)
    mine, values, distance = labels[subject], net[subject], colors.distance[subject]
    clear = distance >= max(2 * colors.level, 0.4 * colors.typical)
    strong = clear & ~shadow[subject]
    # A gray subject on a gray background has the hue of a shadow everywhere.
    known = strong if np.count_nonzero(strong) >= _MIN_HUE * np.count_nonzero(clear) else clear
    area = np.maximum(np.bincount(mine, minlength=count), 1)
    strong_count = np.bincount(mine[strong], minlength=count)
    found_count = np.bincount(mine[strong & (values > 0.5)], minlength=count)
    mean_net, contrast = (np.bincount(mine, each, count) / area for each in (values, distance))
    speck = (area <= max(_SPECK, 0.02 * mine.size)) & (mean_net < 0.3)
    noise = (speck | (area <= _TINY)) & (contrast < 0.25 * colors.typical)
    rim = (cv2.erode(subject.view(np.uint8), _WINDOW3) == 0) & subject
    rim_count, sharp_count = (np.bincount(labels[each], minlength=count) for each in (rim, rim & sharp))
    noise |= (sharp_count < _MIN_SHARP * rim_count) & (mean_net < 0.3)
    agreement = float((values[known] > 0.5).mean()) if known.any() else 0.0
    faint = (strong_count < 0.1 * area) & (mean_net < 0.3) & (agreement > _AGREEMENT)
    found = found_count >= 0.75 * np.maximum(strong_count, 1)
    noise, faint, found = (_select(each, labels) for each in (noise, faint, found))
    return SubjectParts(noise, faint, found, agreement)


def _select(chosen: Mask, labels: np.ndarray) -> Mask:
    """Return the cells of the ``chosen`` parts."""
    return np.asarray(chosen[labels]) if chosen[1:].any() else np.zeros(labels.shape, np.bool_)


def _largest_parts(stats: np.ndarray, least: int) -> list[int]:
    """Return the numbers of the largest parts of at least ``least`` cells."""
    area = stats[:, cv2.CC_STAT_AREA].copy()
    area[0] = 0
    numbers = np.flatnonzero(area >= least)
    return [int(each) for each in numbers[np.argsort(-area[numbers])][:_MAX_PARTS]]


def _window(stats: np.ndarray) -> tuple[slice, slice]:
    left, top, width, height, _ = (int(each) for each in stats)
    return slice(max(0, top - 4), top + height + 4), slice(max(0, left - 4), left + width + 4)


def _is_gap(part: np.ndarray, candidates: Mask, colors: Colors, window: tuple[slice, slice], share: float) -> bool:
    """Return whether a small part among thin ones has a cell with about the color of the background.

    Its other cells are mixed with the subject's color or hold JPEG artifacts.

    Args:
        share: maximum difference of this cell, relative to the contrast of the parts around.
    """
    distance = colors.distance[window]
    clear = distance >= max(colors.level, _CLEAR * colors.typical)
    rim = (cv2.dilate(part, _WINDOW7) > cv2.dilate(part, _WINDOW3)) & ~candidates & clear
    contrast = float(upper_median(distance[rim])) if rim.any() else 0.0
    return contrast > _MIN_GAP and float(distance[part > 0].min()) < max(colors.level, share * contrast)


def _is_background(
    part: np.ndarray,
    core: Mask,
    candidates: Mask,
    colors: Colors,
    window: tuple[slice, slice],
    limit: tuple[float, float] = _HOLE,
) -> bool:
    """Return whether a part equals the background in mean and noise and a clear edge surrounds it.

    Args:
        part: u8[h,w] of 0 and 1 in ``window``; ``core`` (bool[h,w]) is its inner part.
        limit: difference of the mean color in levels, and in deviations of the noise; the larger one counts.
    """
    distance = colors.distance[window]
    if float(upper_median(distance[core])) >= 1.35 * colors.noise + 0.3:
        return False
    if float(np.abs(colors.difference[window][core].mean(axis=0)).max()) >= max(limit[0], limit[1] * colors.noise):
        return False
    rim = (cv2.dilate(part, _WINDOW7) > cv2.dilate(part, _WINDOW3)) & ~candidates & (distance >= colors.level)
    return bool(rim.any()) and float(upper_median(distance[rim])) > max(20.0, 0.35 * colors.typical)
