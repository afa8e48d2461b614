"""Images that one or a few kinds of objects cover up to all borders: heaps, pebbles, crossed branches.

Nothing in them is the subject. Without such samples the network cuts some of the beans or branches out.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from .augment import U8, Rng
from .scenes import cloud, random_color

F32 = NDArray[np.float32]
_VIEWS = 8  # rotated copies of each object
_MAX_OBJECTS = 260


def pebble(side: int, rng: Rng) -> U8:
    """Return a shaded ellipse with a texture, u8[side,side,4]."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    radius = np.hypot(x, y / rng.uniform(0.45, 1.0)) ** rng.uniform(1.6, 3.0)
    light = 0.55 + 0.45 * np.sqrt(np.clip(1 - radius, 0, 1)) - 0.25 * (x * 0.5 + y)
    texture = cloud(side, rng) * rng.uniform(0.1, 0.5)
    color = (random_color(rng) * (1 - texture.mean() / 255) + texture) * light[..., None]
    alpha = np.clip((1 - radius) * side / 4, 0, 1) * 255
    return np.clip(np.dstack([color, alpha]), 0, 255).astype(np.uint8)


def rod(side: int, rng: Rng) -> U8:
    """Return a straight branch, pipe or cord across u8[side,side,4]."""
    y = np.linspace(-1, 1, side, dtype=np.float32)[:, None]
    thickness = rng.uniform(0.06, 0.22)
    across = np.clip(np.abs(y) / thickness, 0, 1)
    light = np.broadcast_to(0.35 + 0.65 * np.sqrt(1 - across**2), (side, side))
    color = cloud(side, rng) * light[..., None]
    alpha = np.broadcast_to(np.clip((thickness - np.abs(y)) * side / 3, 0, 1) * 255, (side, side))
    return np.clip(np.dstack([color, alpha]), 0, 255).astype(np.uint8)


def _rotated(rgba: U8, longest: float, rng: Rng) -> U8:
    """Return the object in a random direction and brightness, with ``longest`` pixels as its longest side.

    The result has space for the object's shadow.
    """
    shrink = longest / max(rgba.shape[:2])
    size = max(2, round(rgba.shape[1] * shrink)), max(2, round(rgba.shape[0] * shrink))
    rgba = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA if shrink < 1 else cv2.INTER_LINEAR).astype(np.uint8)
    side = int(np.hypot(*size) * 1.2) + 2
    angle = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.column_stack([rotation, np.full(2, side / 2) - rotation @ (size[0] / 2, size[1] / 2)])
    color = np.ascontiguousarray(rgba[..., :3])
    color = cv2.warpAffine(color, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(np.ascontiguousarray(rgba[..., 3]), matrix, (side, side))
    bright = np.clip(color * np.exp(rng.normal(0, 0.12)), 0, 255)
    return np.dstack([bright, alpha]).astype(np.uint8)


def _paste(scene: F32, patch: U8, x: int, y: int, dark: float) -> None:
    """Blend a patch with its shadow into ``scene`` f32[S,S,3], centered at (x, y); the parts outside are cut off."""
    side, size = patch.shape[0], scene.shape[0]
    left, top = x - side // 2, y - side // 2
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, size), min(top + side, size)
    if x0 >= x1 or y0 >= y1:
        return
    near = cv2.blur(patch[..., 3], (max(3, side // 8),) * 2)[y0 - top : y1 - top, x0 - left : x1 - left, None]
    part = patch[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32)
    alpha = part[..., 3:] / 255
    under = scene[y0:y1, x0:x1] * (1 - dark * near.astype(np.float32) / 255)
    scene[y0:y1, x0:x1] = under * (1 - alpha) + part[..., :3] * alpha


def heap(size: int, rng: Rng, cutout: Callable[[], U8]) -> U8:
    """Return a heap as u8[S,S,3]; ``cutout`` returns an object as u8[H,W,4] that fills its image."""
    kind = rng.random()
    longest = size * float(np.exp(rng.uniform(np.log(0.08), np.log(0.3))))
    if kind < 0.5:
        objects = [cutout() for _ in range(1 + int(rng.random() < 0.3))]
    elif kind < 0.8:
        objects = [pebble(64, rng)]
    else:
        objects, longest = [rod(160, rng)], size * rng.uniform(0.7, 1.6)
    views = [_rotated(each, longest * rng.uniform(0.8, 1.2), rng) for each in objects for _ in range(_VIEWS)]
    opaque = views[0][views[0][..., 3] > 128]
    gaps = opaque[:, :3].mean(0) * 0.35 if len(opaque) else random_color(rng)
    scene = np.full((size, size, 3), gaps, np.float32)
    spacing = min(longest, size * 0.3) * rng.uniform(0.35, 0.65)
    steps = min(int(np.ceil(size / spacing)) + 1, int(np.sqrt(_MAX_OBJECTS)))
    spots = (np.indices((steps, steps)).reshape(2, -1).T + rng.uniform(0, 1, (steps * steps, 2))) * size / (steps - 1)
    rng.shuffle(spots)
    dark = rng.uniform(0.3, 0.8)
    for x, y in spots - size / (steps - 1) / 2:
        _paste(scene, views[int(rng.integers(len(views)))], int(x), int(y), dark)
    if rng.random() < 0.3:  # a part is out of focus
        soft = cv2.GaussianBlur(scene, (0, 0), rng.uniform(1, 5))
        ramp = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
        ramp = ramp if rng.random() < 0.5 else 1 - ramp
        scene = scene * (1 - ramp) + soft * ramp
    return np.clip(scene, 0, 255).astype(np.uint8)
