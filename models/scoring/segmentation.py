"""Scores of alpha mattes. Needs only NumPy and OpenCV, no model and no service.

Every function takes the predicted matte and the true one as float arrays [H,W] in 0..1 of the same
size. "True" may be binary or soft; measures defined on masks cut it at 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Matte = NDArray[np.floating]
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Scores:
    """The four figures of one image. ``mae`` is better low, the rest are better high; all 0..1."""

    mae: float
    iou: float
    s_measure: float
    boundary_f: float


def score(predicted: Matte, true: Matte) -> Scores:
    """All four figures of one image."""
    if predicted.shape != true.shape or predicted.ndim != 2:
        raise ValueError(f"shapes differ or are not [H,W]: {predicted.shape}, {true.shape}")
    return Scores(
        mae=mae(predicted, true),
        iou=iou(predicted, true),
        s_measure=s_measure(predicted, true),
        boundary_f=boundary_f(predicted, true),
    )


def mae(predicted: Matte, true: Matte) -> float:
    """Mean absolute difference of the mattes."""
    return float(np.abs(predicted.astype(np.float64) - true).mean())


def iou(predicted: Matte, true: Matte, threshold: float = 0.5) -> float:
    """Intersection over union of the masks above ``threshold``; 1 when both are empty."""
    a, b = predicted > threshold, true > threshold
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 1.0


def s_measure(predicted: Matte, true: Matte, balance: float = 0.5) -> float:
    """Structure measure: D.-P. Fan, M.-M. Cheng, Y. Liu, T. Li, A. Borji, ICCV 2017.

    ``balance`` weighs the object-aware against the region-aware part (alpha in the paper).
    """
    p = predicted.astype(np.float64)
    t = true > 0.5
    share = float(t.mean())
    if share == 0:
        return 1 - float(p.mean())
    if share == 1:
        return float(p.mean())
    both = balance * _object_part(p, t, share) + (1 - balance) * _region_part(p, t)
    return max(0.0, both)


def _object_part(p: NDArray[np.float64], t: NDArray[np.bool_], share: float) -> float:
    """How alike, and how even, the prediction is inside and outside the object (paper, eq. 5)."""

    def alike(values: NDArray[np.float64]) -> float:
        mean = float(values.mean())
        spread = float(values.std(ddof=1)) if values.size > 1 else 0.0
        return 2 * mean / (mean * mean + 1 + spread + _EPS)

    return share * alike(p[t]) + (1 - share) * alike(1 - p[~t])


def _region_part(p: NDArray[np.float64], t: NDArray[np.bool_]) -> float:
    """Structural similarity of the four quarters about the object's centroid (paper, eq. 4)."""
    height, width = t.shape
    ys, xs = np.nonzero(t)
    x, y = round(float(xs.mean())) + 1, round(float(ys.mean())) + 1
    total = 0.0
    for rows in (slice(0, y), slice(y, height)):
        for columns in (slice(0, x), slice(x, width)):
            quarter = t[rows, columns]
            if quarter.size:
                weight = quarter.size / t.size
                total += weight * _similarity(p[rows, columns], quarter.astype(np.float64))
    return total


def _similarity(p: NDArray[np.float64], t: NDArray[np.float64]) -> float:
    """Z. Wang's structural similarity of two whole patches, without its constants (eq. 3)."""
    mean_p, mean_t = float(p.mean()), float(t.mean())
    count = max(p.size - 1, 1)
    var_p = float(((p - mean_p) ** 2).sum()) / count
    var_t = float(((t - mean_t) ** 2).sum()) / count
    shared = float(((p - mean_p) * (t - mean_t)).sum()) / count
    top = 4 * mean_p * mean_t * shared
    bottom = (mean_p**2 + mean_t**2) * (var_p + var_t)
    if top != 0:
        return top / (bottom + _EPS)
    return 1.0 if bottom == 0 else 0.0


def boundary_f(predicted: Matte, true: Matte, tolerance: float = 0.005) -> float:
    """F-measure of the outlines, matched within ``tolerance`` of the image's diagonal.

    After F. Perazzi et al., "A benchmark dataset and evaluation methodology for video object
    segmentation", CVPR 2016: each outline against the other one grown by a disc. The radius is
    rounded to whole pixels, at least one.
    """
    a, b = outline(predicted > 0.5), outline(true > 0.5)
    if not a.any() or not b.any():
        return float(a.any() == b.any())
    reach = max(1, round(tolerance * float(np.hypot(*true.shape))))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    precision = float((cv2.dilate(b.astype(np.uint8), disc) > 0)[a].mean())
    recall = float((cv2.dilate(a.astype(np.uint8), disc) > 0)[b].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels on either side of the mask's border (3x3); the image's edge is no border."""
    gradient = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return np.asarray(gradient > 0)


def cut_share(matte: Matte, threshold: float = 0.5) -> float:
    """Share of the frame above ``threshold``: what a subject-free image should keep near 0."""
    return float((matte > threshold).mean())
