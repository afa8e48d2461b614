"""Drawn objects: blobs, polygons, boxes, frames and furniture with legs, textured.

They have exact outlines and no semantic class. They teach that an object has one outline and one lighting and is in
front of the rest.
"""

from __future__ import annotations

import cv2
import numpy as np

from .augment import U8, Rng
from .scenes import texture


def _outline(size: int, rng: Rng) -> U8:
    """A closed random outline: smooth (blob) or straight-edged (polygon). u8[S,S]."""
    count = int(rng.integers(3, 11))
    angle = np.sort(rng.uniform(0, 2 * np.pi, count))
    radius = size * rng.uniform(0.15, 0.48, count)
    if rng.random() < 0.6:  # resample round the circle: a smooth blob
        fine = np.linspace(0, 2 * np.pi, 96, endpoint=False)
        turns = np.concatenate([angle - 2 * np.pi, angle, angle + 2 * np.pi])
        radius = np.interp(fine, turns, np.tile(radius, 3))
        kernel = np.hanning(2 * int(rng.integers(3, 12)) + 1)
        padded = np.concatenate([radius[-16:], radius, radius[:16]])
        radius = np.convolve(padded, kernel / kernel.sum(), "same")[16:-16]
        angle = fine
    points = np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]
    points = points * np.exp(rng.normal(0, 0.3, 2)) + size / 2
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return mask


def _furniture(size: int, rng: Rng) -> U8:
    """Draw boards on legs: tables, chairs, shelves, lamps, as a union of bars. u8[S,S]."""
    mask = np.zeros((size, size), np.uint8)
    left, right = size * rng.uniform(0.08, 0.3), size * rng.uniform(0.7, 0.92)
    top, bottom = size * rng.uniform(0.08, 0.5), size * rng.uniform(0.75, 0.95)
    thin = size * rng.uniform(0.012, 0.05)
    board = size * rng.uniform(0.03, 0.3)

    def bar(a: tuple[float, float], b: tuple[float, float], thickness: float) -> None:
        ends = [tuple(round(c * 16) for c in p) for p in (a, b)]
        cv2.line(mask, ends[0], ends[1], 255, max(1, int(thickness)), cv2.LINE_AA, 4)

    bar((left, top + board / 2), (right, top + board / 2), board)
    for _ in range(int(rng.integers(2, 5))):
        foot = rng.uniform(left, right)
        bar((rng.uniform(left, right), top), (foot, bottom), thin)
    bar((left + thin, top), (left + rng.normal(0, 0.05) * size, bottom), thin)
    bar((right - thin, top), (right + rng.normal(0, 0.05) * size, bottom), thin)
    if rng.random() < 0.5:  # a back or a second shelf
        y = rng.uniform(top, bottom)
        bar((left, y), (right, y), thin * rng.uniform(1, 3))
    if rng.random() < 0.4:
        side = left if rng.random() < 0.5 else right
        bar((side, top), (side + rng.normal(0, 0.04) * size, size * 0.05), thin * rng.uniform(1, 5))
    return mask


def shape(size: int, rng: Rng, photo: U8 | None = None) -> U8:
    """Draw one object: u8[S,S,4] with soft shading, parts and sometimes a hole."""
    mask = _furniture(size, rng) if rng.random() < 0.4 else _outline(size, rng)
    if rng.random() < 0.25:
        mask = np.maximum(mask, _outline(size, rng))
    if rng.random() < 0.15:
        hole = cv2.resize(_outline(size, rng), None, fx=0.5, fy=0.5)
        top, left = rng.integers(0, size // 2, 2)
        part = mask[top : top + hole.shape[0], left : left + hole.shape[1]]
        np.minimum(part, 255 - hole, out=part)
    stuff = texture(size, rng, photo)
    if rng.random() < 0.5:  # a second material over a part of it
        other = _outline(size, rng)[..., None].astype(np.float32) / 255
        stuff = stuff * (1 - other) + texture(size, rng, photo) * other
    if rng.random() < 0.6:  # rounded: darker towards the rim
        depth = cv2.GaussianBlur(mask, (0, 0), size * rng.uniform(0.02, 0.1)).astype(np.float32)
        stuff = stuff * (1 - rng.uniform(0.2, 0.8) * (1 - depth / 255))[..., None]
    ramp = np.linspace(1 + rng.normal(0, 0.2), 1 + rng.normal(0, 0.2), size, dtype=np.float32)
    stuff = stuff * (ramp[:, None, None] if rng.random() < 0.5 else ramp[None, :, None])
    return np.dstack([np.clip(stuff, 0, 255).astype(np.uint8), mask])
