"""prepare: resize and normalize an image for the model."""

from __future__ import annotations

import cv2
import numpy as np

from .compositing import blend
from .types import F32, U8, Color, DecodedImage, InputSpec, ModelInput

_NEUTRAL: Color = (128, 128, 128, 255)
"""Background for transparent inputs. White and black subjects both contrast with mid-gray."""
_OVERSAMPLING = 2
"""Pixels per model pixel and axis before the last, exact reduction. Down to this size, linear interpolation is used:
mattes of 30 photos moved by 0.0008 on average against area means, for a fifth of the time."""


def prepare(image: DecodedImage, spec: InputSpec) -> ModelInput:
    """Resize the whole image to f32[3,S,S] by area means, then compute (value * scale - mean) / std per channel."""
    reduced = _reduce(over_background(image, _NEUTRAL), spec.side)
    return ModelInput(normalize(blend.resize(reduced, spec.side, spec.side), spec))


def over_background(image: DecodedImage, color: Color) -> U8:
    """Return the image without transparency, u8[H,W,3], blended over ``color``."""
    return image.rgb if image.alpha is None else blend.flatten(image.rgb, image.alpha, color)


def normalize(rgb: U8, spec: InputSpec) -> F32:
    """Convert u8[S,S,3] to contiguous f32[3,S,S] with one lookup table of 256 values per channel."""
    levels = np.arange(256, dtype=np.float64) * spec.scale
    out = np.empty((3, *rgb.shape[:2]), np.float32)
    for channel in range(3):
        table = ((levels - spec.mean[channel]) / spec.std[channel]).astype(np.float32)
        cv2.LUT(cv2.extractChannel(rgb, channel), table, dst=out[channel])
    return out


def _reduce(rgb: U8, side: int) -> U8:
    """Reduce to ``_OVERSAMPLING`` times ``side`` by halving, then by a factor below two; small images stay as is."""
    target = _OVERSAMPLING * side
    while min(rgb.shape[:2]) >= 2 * target:  # at a factor of two, linear interpolation is the mean of four pixels
        size = rgb.shape[1] // 2, rgb.shape[0] // 2
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    if target < min(rgb.shape[:2]) and max(rgb.shape[:2]) < 2 * target:
        rgb = np.asarray(cv2.resize(rgb, (target, target), interpolation=cv2.INTER_LINEAR), np.uint8)
    return rgb
