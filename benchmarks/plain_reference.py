"""The limit of a reference matte: the IoU that colors can reach with it, given the exact background."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from benchmarks.plain_scenes import F32, Cutout, as_matte, over, plain_product
from benchmarks.quality import at_640
from models.scoring.segmentation import iou

_SOURCE_SIDE = 352
"""Longest side of the photos from which the mattes are keyed, in pixels."""
_WINDOW3 = np.ones((3, 3), np.uint8)


def reference_limit(shots: Sequence[Cutout], count: int, seed: int) -> dict[str, float]:
    """Return mean and first percentile of the IoU of ``alpha_by_colors`` over ``count`` products without shadow."""
    scores = []
    for number in range(count):
        color, alpha, scene = plain_product(shots, number, np.random.default_rng(seed + number))
        found = alpha_by_colors(over(color, alpha, scene), color, alpha, scene)
        scores.append(iou(at_640(as_matte(found)), at_640(as_matte(alpha))))
    return {"iou": round(float(np.mean(scores)), 4), "iou_first_percentile": round(float(np.percentile(scores, 1)), 4)}


def alpha_by_colors(image: F32, color: F32, alpha: F32, scene: F32) -> F32:
    """Return alpha f32[H,W], computed from colors in the soft edge, and equal to ``alpha`` elsewhere.

    Args:
        image: ``color`` over the background ``scene`` by ``alpha``, f32[H,W,3] in levels and f32[H,W] in 0..1.
    """
    reach = max(1, round(max(alpha.shape) / _SOURCE_SIDE))
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    opaque = cv2.erode((alpha > 0.98).astype(np.uint8), window)
    if not opaque.any():
        return alpha
    _, nearest = cv2.distanceTransformWithLabels(1 - opaque, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    weight = np.maximum(cv2.blur(opaque.astype(np.float32), (5, 5)), 1e-3)[..., None]
    means = cv2.blur(color * opaque[..., None], (5, 5)) / weight
    table = np.zeros((int(nearest.max()) + 1, 3), np.float32)
    table[nearest[opaque > 0]] = means[opaque > 0]
    contrast = table[nearest] - scene
    share = ((image - scene) * contrast).sum(axis=2) / np.maximum((contrast * contrast).sum(axis=2), 1)
    outer = cv2.dilate((alpha > 0.02).astype(np.uint8), _WINDOW3) > 0
    edge = outer & (cv2.erode((alpha > 0.98).astype(np.uint8), _WINDOW3) == 0)
    return np.where(edge, np.clip(share, 0, 1), alpha).astype(np.float32)
