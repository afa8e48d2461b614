"""The confidence of a cut-out: an estimate of its IoU with the correct matte, from facts about the matte and the image.

``benchmarks/confidence.py`` fits the weights and measures the calibration.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import cv2
import numpy as np

from clearcut.imaging.types import F32, U8

_SIDE = 160
"""Side of the grid on which image and matte are compared."""
_WINDOW3 = np.ones((3, 3), np.uint8)
_LEAST = 1e-3
_WEIGHTS = (-2.546, 1.003, -0.091, 1.59, -0.462, 4.44, 0.273)
"""A constant, and the weights of the fields of ``MatteFacts`` in their form for the fit."""


@dataclass(frozen=True, slots=True)
class MatteFacts:
    """Facts about a matte that indicate its quality."""

    certainty: float
    """Mean of |2p - 1| over the network's matte, weighted by p, 0..1."""
    agreement: float
    """Soft IoU of the final and the network's matte, 0..1."""
    edge_contrast: float
    """Change of color at the edge of the matte, against the strongest edges of the image, 0..1."""
    softness: float
    """Ratio of the areas with alpha between 0.1 and 0.9 and of the subject."""
    outline: float
    """Length of the edge relative to the root of the subject's area."""
    plain_background: float
    """1 if the background is plain, else 0."""


def certainty(values: F32) -> float:
    """Return the mean certainty of the network, 0..1, for ``values`` f32[h,w] in 0..1.

    This is the mean of |2p - 1| weighted by p, so that a large empty background does not hide an uncertain subject.
    """
    weight = cv2.sumElems(values)[0]
    distance = np.abs(values - np.float32(0.5))
    return float(np.vdot(values, distance)) * 2 / weight if weight > 0 else 0.0


def matte_facts(values: F32, alpha: U8, rgb: U8, *, plain_background: bool) -> MatteFacts:
    """Return the facts about ``alpha`` (u8[H,W]) of the image ``rgb`` (u8[H,W,3]), 160 samples along each side.

    Args:
        values: the network's matte of the whole image, f32[h,w] in 0..1.
    """
    size = _SIDE, _SIDE
    matte = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR), np.float32) * np.float32(1 / 255)
    network = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)
    image = cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR)
    red, green, blue = cv2.split(cv2.morphologyEx(image, cv2.MORPH_GRADIENT, _WINDOW3))
    gradient = np.maximum(np.maximum(red, green), blue)
    inside = (matte > 0.5).view(np.uint8)
    edge = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, _WINDOW3) > 0
    change = float(gradient[edge].mean()) if edge.any() else 0.0
    fill = max(float(matte.mean()), 0.01)
    return MatteFacts(
        certainty=certainty(values),
        agreement=float(np.minimum(matte, network).sum() / max(float(np.maximum(matte, network).sum()), _LEAST)),
        edge_contrast=change / (change + _percentile(gradient, 0.9) + 1),
        softness=float(((matte > 0.1) & (matte < 0.9)).mean()) / fill,
        outline=float(edge.mean()) / fill**0.5,
        plain_background=float(plain_background),
    )


def fit_terms(facts: MatteFacts) -> tuple[float, ...]:
    """Return the terms of the logistic fit: a constant and one for each fact."""
    sure, agreement, contrast, softness, outline, plain = astuple(facts)
    return (
        1.0,
        _logit(sure),
        min(max(_logit(agreement), -3.0), 5.0),
        contrast,
        float(np.log(softness + 0.01)),
        outline,
        plain,
    )


def estimate_iou(facts: MatteFacts, weights: tuple[float, ...] = _WEIGHTS) -> float:
    """Return the estimated IoU of a cut-out with the correct matte, 0..1."""
    return float(1 / (1 + np.exp(-np.dot(fit_terms(facts), weights))))


def _percentile(levels: U8, share: float) -> float:
    """Return ``np.percentile`` of all levels, from their histogram: a tenth of the time."""
    totals = np.cumsum(cv2.calcHist([levels], [0], None, [256], [0, 256]))
    position = share * (levels.size - 1)
    rank = int(position)
    low, high = np.searchsorted(totals, (rank, rank + 1), side="right")
    return float(low + (min(high, 255) - low) * (position - rank))


def _logit(share: float) -> float:
    limited = min(max(share, _LEAST), 1 - _LEAST)
    return float(np.log(limited / (1 - limited)))
