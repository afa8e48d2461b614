"""Connected parts of a grid of cells in front of a plain background: holes, open parts, parts of the subject."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from clearcut.imaging.matting.edge_band import Mask
from clearcut.imaging.types import F32

from .background_field import upper_median

_WINDOW3, _WINDOW5, _WINDOW7 = (np.ones((side, side), np.uint8) for side in (3, 5, 7))
_SPECK = 12
"""Maximum cells of a part that is noise if it hardly differs from the background."""
_TINY = 4
"""Maximum cells of such a part in the network's matte, for example noise in a hole that the network has filled."""
_MIN_SHARP = 0.5
"""Share of the rim of a part that is an edge of the image, if the network has not found the part. A light on a wall has
no such edge."""
_MAX_PARTS = 100
"""Maximum parts that are examined; further ones stay subject."""
_MIN_HUE = 0.1
"""Share of the clear cells whose hue must differ from a shadow's, if only those are to be compared with the network."""
_AGREEMENT = 0.85
"""Share of the clear cells of the subject that the network must have found to reject faint parts."""
_HOLE = 0.45, 0.9
"""Maximum difference of a hole's mean color from the background, in levels and in deviations of the noise; the larger
maximum counts."""
_LEAST_CORE = 20
"""Minimum cells of a part that has an inner part of six cells."""
_SMALL_GAP = 60
"""Maximum cells of a gap among thin parts; a larger one is examined like other holes."""
_MIN_GAP = 10
"""Minimum contrast of the parts around such a gap, in levels."""
_GAP = 0.25
"""Maximum difference between the background and the gap's cell that is most similar to it, as a share of the contrast
of the parts around the gap."""
_GAP_IN_SUBJECT = 0.15
"""Maximum of this difference where the network finds subject."""
_CLEAR = 0.25
"""Minimum difference from the background of the parts around a gap, as a share of the typical difference."""
_NET_SUBJECT = 0.8
"""Minimum mean of the network's matte in a part where the network finds subject."""
_HOLE_IN_SUBJECT = 0.33, 0.9
"""Maximum difference of a hole (see ``_HOLE``) where the network finds subject."""
NET_SOLID = 0.992
"""Mean of the network's matte in a part above which the matte is solid there. Such an open part is subject."""
_HOLE_IN_SOLID = 0.3, 0.5
"""Maximum difference of a hole (see ``_HOLE``) where the network's matte is solid."""
_SHARE_IN_SOLID, _DARK = 0.004, 25
"""Maximum of this difference relative to the background's brightness, and the brightness in levels that a darker
background counts as. Print on a dark background differs by few levels."""
_NET_BACKGROUND = 0.22
"""Maximum mean of the network's matte in a large part that is background whatever its colors."""
_WEAK_CONTRAST = 60
"""Typical difference of the subject, in levels, below which open parts are subject where the network finds subject."""


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
    brightness: float = 255.0
    """Mean of the background's channels at the center of the image, in levels; extrapolated, so it can be below 0."""


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
    """Return three masks of enclosed parts, bool[h,w]: holes, rejected parts and undecided parts.

    Holes equal the background inside a clear edge. Rejected parts are no holes, but the network takes them for
    background. Undecided parts are large rejected parts with a color unlike the background's and with weak values in
    the network's matte.
    """
    if not candidates.any():
        return candidates, candidates, candidates
    mask = candidates.view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    holes, rejected, undecided = np.zeros((3, count), np.bool_)
    numbers, area = labels[candidates], stats[:, cv2.CC_STAT_AREA]
    means, thin_share = (np.bincount(numbers, each[candidates], count) / area for each in (net, thin))
    for number in _largest_parts(stats, 1):
        window = _window(stats[number])
        part = (labels[window] == number).view(np.uint8)
        mean_net, is_thin = float(means[number]), thin_share[number] > 0.5
        if area[number] <= _SMALL_GAP and is_thin:
            share = _GAP if mean_net < _NET_SUBJECT else _GAP_IN_SUBJECT
            holes[number] = _is_gap(part, candidates[window], colors, window, share)
            continue
        core = part > 0
        if area[number] >= _LEAST_CORE:
            inner = cv2.erode(part, _WINDOW3) > 0
            core = inner if np.count_nonzero(inner) >= 6 else core
        limit = _HOLE
        if mean_net >= NET_SOLID:
            least, deviations = _HOLE_IN_SOLID
            highest = _SHARE_IN_SOLID * max(colors.brightness, _DARK)
            limit = min(least, highest), min(deviations, highest / colors.noise)
        elif mean_net >= _NET_SUBJECT:
            limit = _HOLE_IN_SUBJECT
        holes[number] = _is_background(part, core, candidates[window], colors, window, limit)
        if mean_net < 0.4 and not holes[number]:
            rejected[number] = True
            spread = float(upper_median(colors.distance[window][core]))
            is_large = area[number] > _SMALL_GAP and not is_thin
            differs = spread > colors.level + 2 * colors.noise
            undecided[number] = is_large and mean_net > _NET_BACKGROUND and differs
    return _select(holes, labels), _select(rejected, labels), _select(undecided, labels)


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
            mean_net = float(net[window][part > 0].mean())
            is_subject = mean_net > (_NET_SUBJECT if colors.typical < _WEAK_CONTRAST else NET_SOLID)
            chosen[number] = is_subject or not _is_background(part, inner, candidates[window], colors, window)
    return np.asarray(chosen[labels])


def rejected_parts(candidates: Mask, equals_background: Mask, net: F32) -> Mask:
    """Return the enclosed parts, shadows included, that the network takes for background.

    A fifth of each part must have the color of the background (``equals_background``): print on a cover does not.
    """
    if not candidates.any():
        return candidates
    count, labels = cv2.connectedComponents(candidates.view(np.uint8), connectivity=4)
    numbers = labels[candidates]
    area = np.maximum(np.bincount(numbers, minlength=count), 1)
    mean, share = (np.bincount(numbers, each[candidates], count) / area for each in (net, equals_background))
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
    numbers, values, distance = labels[subject], net[subject], colors.distance[subject]
    clear = distance >= max(2 * colors.level, 0.4 * colors.typical)
    strong = clear & ~shadow[subject]
    # A gray subject on a gray background has the hue of a shadow everywhere.
    known = strong if np.count_nonzero(strong) >= _MIN_HUE * np.count_nonzero(clear) else clear
    area = np.maximum(np.bincount(numbers, minlength=count), 1)
    strong_count = np.bincount(numbers[strong], minlength=count)
    found_count = np.bincount(numbers[strong & (values > 0.5)], minlength=count)
    mean_net, contrast = (np.bincount(numbers, each, count) / area for each in (values, distance))
    speck = (area <= max(_SPECK, 0.02 * numbers.size)) & (mean_net < 0.3)
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
