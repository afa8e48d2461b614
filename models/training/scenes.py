"""Scenes without a subject, made here: plain, graded, patterned, walls with floors, noise.

They are backgrounds of composites, and negatives on their own.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .augment import U8, Rng

F32 = NDArray[np.float32]


def random_color(rng: Rng) -> F32:
    """A color as f32[3] in 0..255: grays and near-whites are common, as in product images."""
    draw = rng.random()
    if draw < 0.25:
        return np.full(3, rng.uniform(200, 255), np.float32) + rng.normal(0, 3, 3).astype(np.float32)
    if draw < 0.5:
        return np.full(3, rng.uniform(10, 220), np.float32) + rng.normal(0, 8, 3).astype(np.float32)
    return rng.uniform(0, 255, 3).astype(np.float32)


def plain(size: int, rng: Rng) -> F32:
    """One color, often with a linear or radial fall-off of light."""
    base = np.broadcast_to(random_color(rng), (size, size, 3)).astype(np.float32)
    if rng.random() < 0.25:
        return base
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    if rng.random() < 0.5:
        turn = rng.uniform(0, 2 * np.pi)
        ramp = np.cos(turn) * x + np.sin(turn) * y
    else:
        cx, cy = rng.uniform(-0.7, 0.7, 2)
        ramp = 1 - 2 * np.minimum(np.hypot(x - cx, y - cy), 1.5)
    if rng.random() < 0.5:
        return base * (1 + rng.uniform(0.03, 0.35) * ramp[..., None])
    mix = ramp[..., None] * 0.5 + 0.5
    return base * mix + random_color(rng) * (1 - mix)


def cloud(size: int, rng: Rng) -> F32:
    """Octaves of smooth noise between two colors: plaster, cloth, fur, stone."""
    total = np.zeros((size, size), np.float32)
    cells, weight, fade = int(rng.integers(2, 8)), 1.0, rng.uniform(0.4, 0.9)
    while cells < size:
        shape = (cells, max(2, int(cells * np.exp(rng.normal(0, 0.5)))))
        grid = rng.standard_normal(shape, dtype=np.float32)
        total += weight * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        cells, weight = cells * 2, weight * fade
    mix = (1 / (1 + np.exp(-total * rng.uniform(0.4, 2))))[..., None]
    return random_color(rng) * mix + random_color(rng) * (1 - mix)


def pattern(size: int, rng: Rng) -> F32:
    """Stripes, checks, tiles, bricks or dots, turned, with soft or hard edges."""
    turn = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)])
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    u = (np.cos(turn) * x + np.sin(turn) * y) / size * rng.uniform(2, 24)
    v = (np.cos(turn) * y - np.sin(turn) * x) / size * rng.uniform(2, 24)
    kind = rng.integers(5)
    if kind == 0:
        wave = np.sin(2 * np.pi * u)
    elif kind == 1:
        wave = np.sin(2 * np.pi * u) * np.sin(2 * np.pi * v)
    elif kind == 2:  # tiles with joints
        joint = rng.uniform(0.03, 0.12)
        wave = np.where((u % 1 < joint) | (v % 1 < joint), -1.0, 1.0)
    elif kind == 3:  # bricks
        shifted = u + 0.5 * (np.floor(v) % 2)
        wave = np.where((shifted % 1 < 0.06) | (v % 1 < 0.1), -1.0, 1.0)
    else:
        wave = 0.16 - (u % 1 - 0.5) ** 2 - (v % 1 - 0.5) ** 2
        wave = wave * 8
    mix = (1 / (1 + np.exp(-wave * rng.uniform(1, 12))))[..., None].astype(np.float32)
    return random_color(rng) * mix + random_color(rng) * (1 - mix)


def texture(size: int, rng: Rng, photo: U8 | None = None) -> F32:
    """Any flat stuff; ``photo`` (u8[S,S,3]) may lend a magnified patch of itself."""
    draw = rng.random()
    if photo is not None and draw < 0.45:
        side = int(size * rng.uniform(0.15, 0.6))
        top, left = rng.integers(0, size - side + 1, 2)
        patch = photo[top : top + side, left : left + side]
        return cv2.resize(patch, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    return (cloud if draw < 0.65 else pattern if draw < 0.85 else plain)(size, rng)


def interior(size: int, rng: Rng, photo: U8 | None = None) -> F32:
    """A wall and a floor of different stuff, the floor in perspective, sometimes a side wall."""
    scene = texture(size, rng, photo) * rng.uniform(0.7, 1.1)
    line = int(size * rng.uniform(0.4, 0.85))
    floor = texture(size, rng, photo)
    pinch = rng.uniform(0, 0.45) * size
    corners = np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float32)
    spread = np.array([[pinch, line], [size - pinch, line], [size + pinch * 2, size], [-pinch * 2, size]], np.float32)
    warp = cv2.getPerspectiveTransform(corners, spread)
    laid = cv2.warpPerspective(floor, warp, (size, size), borderMode=cv2.BORDER_REFLECT)
    scene[line:] = laid[line:]
    if rng.random() < 0.3:
        edge = int(size * rng.uniform(0.1, 0.9))
        scene[:line, :edge] *= rng.uniform(0.6, 0.95)
    if rng.random() < 0.4:  # an image, window or cupboard front on the wall: never the subject
        x, y = rng.integers(0, size, 2)
        w, h = rng.integers(size // 10, size // 2, 2)
        scene[min(y, line) : min(y + h, line), x : x + w] = random_color(rng)
    return scene


def empty_scene(size: int, rng: Rng, photo: U8 | None = None) -> U8:
    """Any scene of this module as u8[S,S,3]."""
    draw = rng.random()
    if draw < 0.3:
        scene = plain(size, rng)
    elif draw < 0.55:
        scene = texture(size, rng, photo)
    else:
        scene = interior(size, rng, photo)
    if rng.random() < 0.3:
        scene = cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.5, 4))
    return np.clip(scene, 0, 255).astype(np.uint8)
