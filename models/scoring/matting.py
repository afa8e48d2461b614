"""The four errors of alphamatting.com, over the whole image.

Rhemann, Rother, Wang, Gelautz, Kohli, Rott: "A Perceptually Motivated Online Benchmark for Image Matting",
CVPR 2009. The site scores inside a trimap's unknown region. Here there is no trimap, so every pixel counts.
Units as in the site's tables: SAD, gradient and connectivity in thousands, MSE times a thousand.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

GRADIENT_SIGMA = 1.4
_GRADIENT_CUT = 1e-2
_CONNECTIVITY_STEP = 0.1
_CONNECTIVITY_THETA = 0.15


@dataclass(frozen=True, slots=True)
class MattingErrors:
    sad: float
    mse: float
    gradient: float
    connectivity: float


def matting_errors(predicted: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]) -> MattingErrors:
    """All four errors of one matte; both u8[H,W] of one shape.

    Raises ValueError when the shapes differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"shapes differ: {predicted.shape} and {truth.shape}")
    p, t = predicted / 255.0, truth / 255.0
    difference = np.abs(p - t)
    return MattingErrors(
        sad=float(difference.sum()) / 1e3,
        mse=float((difference**2).mean()) * 1e3,
        gradient=float(((gradient_magnitude(p) - gradient_magnitude(t)) ** 2).sum()) / 1e3,
        connectivity=connectivity_error(p, t) / 1e3,
    )


def gradient_magnitude(alpha: F64) -> F64:
    """Length of the gradient by derivatives of a Gaussian, each filter of unit L2 norm, borders replicated."""
    half = int(np.ceil(GRADIENT_SIGMA * np.sqrt(-2 * np.log(np.sqrt(2 * np.pi) * GRADIENT_SIGMA * _GRADIENT_CUT))))
    at = np.arange(-half, half + 1, dtype=np.float64)
    bell = np.exp(-(at**2) / (2 * GRADIENT_SIGMA**2)) / (GRADIENT_SIGMA * np.sqrt(2 * np.pi))
    slope = -at * bell / GRADIENT_SIGMA**2
    norm = float(np.sqrt((bell**2).sum() * (slope**2).sum()))
    along_x = cv2.sepFilter2D(alpha, cv2.CV_64F, slope / norm, bell, borderType=cv2.BORDER_REPLICATE)
    along_y = cv2.sepFilter2D(alpha, cv2.CV_64F, bell, slope / norm, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.hypot(along_x, along_y))


def connectivity_error(p: F64, t: F64) -> float:
    """Sum over pixels of how differently far both are from the largest region opaque in both."""
    levels = np.arange(0.0, 1.0 + _CONNECTIVITY_STEP / 2, _CONNECTIVITY_STEP)
    joined = np.full(p.shape, -1.0)
    for below, level in itertools.pairwise(levels):
        both = ((p >= level - 1e-9) & (t >= level - 1e-9)).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(both, connectivity=4)
        largest = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])) if count > 1 else np.zeros(p.shape, bool)
        joined[(joined < 0) & ~largest] = below
    joined[joined < 0] = 1.0
    return float(np.abs(_connected(p, joined) - _connected(t, joined)).sum())


def _connected(alpha: F64, joined: F64) -> F64:
    away = alpha - joined
    return np.asarray(1.0 - away * (away >= _CONNECTIVITY_THETA))
