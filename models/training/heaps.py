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
_MOST = 260  # pasted objects


def pebble(side: int, rng: Rng) -> U8:
    """A shaded ellipse with a texture, u8[side,side,4]."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    radius = np.hypot(x, y / rng.uniform(0.45, 1.0)) ** rng.uniform(1.6, 3.0)
    light = 0.55 + 0.45 * np.sqrt(np.clip(1 - radius, 0, 1)) - 0.25 * (x * 0.5 + y)
    texture = cloud(side, rng) * rng.uniform(0.1, 0.5)
    color = (random_color(rng) * (1 - texture.mean() / 255) + texture) * light[..., None]
    alpha = np.clip((1 - radius) * side / 4, 0, 1) * 255
    return np.clip(np.dstack([color, alpha]), 0, 255).astype(np.uint8)


def rod(side: int, rng: Rng) -> U8:
    """A straight branch, pipe or cord across u8[side,side,4]."""
    y = np.linspace(-1, 1, side, dtype=np.float32)[:, None]
    thick = rng.uniform(0.06, 0.22)
    across = np.clip(np.abs(y) / thick, 0, 1)
    light = np.broadcast_to(0.35 + 0.65 * np.sqrt(1 - across**2), (side, side))
    color = cloud(side, rng) * light[..., None]
    alpha = np.broadcast_to(np.clip((thick - np.abs(y)) * side / 3, 0, 1) * 255, (side, side))
    return np.clip(np.dstack([color, alpha]), 0, 255).astype(np.uint8)


def _turned(rgba: U8, longest: float, rng: Rng) -> U8:
    """The object's view in a random direction and brightness, with ``longest`` pixels as its longest side."""
    height, width = rgba.shape[:2]
    shrink = longest / max(height, width)
    side = max(8, int(np.hypot(height, width) * shrink) + 2)
    turn = rng.uniform(0, 2 * np.pi)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * shrink
    offset = np.full(2, side / 2) - matrix @ (width / 2, height / 2)
    method = cv2.INTER_AREA if shrink < 0.6 else cv2.INTER_LINEAR
    turned = cv2.warpAffine(rgba, np.column_stack([matrix, offset]), (side, side), flags=method)
    turned[..., :3] = np.clip(turned[..., :3] * np.exp(rng.normal(0, 0.12)), 0, 255)
    return turned.astype(np.uint8)


def _paste(scene: F32, patch: U8, x: int, y: int, dark: float) -> None:
    """Blend a patch with its shadow into ``scene`` f32[S,S,3], centered at (x, y); the parts outside are cut off."""
    side, size = patch.shape[0], scene.shape[0]
    left, top = x - side // 2, y - side // 2
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, size), min(top + side, size)
    if x0 >= x1 or y0 >= y1:
        return
    part = patch[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32)
    alpha = part[..., 3:] / 255
    near = cv2.blur(part[..., 3], (max(3, side // 8),) * 2)[..., None] / 255
    under = scene[y0:y1, x0:x1] * (1 - dark * near)
    scene[y0:y1, x0:x1] = under * (1 - alpha) + part[..., :3] * alpha


def heap(size: int, rng: Rng, cutout: Callable[[], U8]) -> U8:
    """A heap as u8[S,S,3]; ``cutout`` returns an object as u8[H,W,4] that fills its image."""
    draw = rng.random()
    longest = size * float(np.exp(rng.uniform(np.log(0.08), np.log(0.55))))
    if draw < 0.5:
        objects = [cutout() for _ in range(1 + int(rng.random() < 0.3))]
    elif draw < 0.8:
        objects = [pebble(64, rng)]
    else:
        objects, longest = [rod(160, rng)], size * rng.uniform(0.7, 1.6)
    views = [_turned(each, longest * rng.uniform(0.8, 1.2), rng) for each in objects for _ in range(_VIEWS)]
    scene = (
        np.broadcast_to(
            views[0][views[0][..., 3] > 128][:, :3].mean(0) * 0.35
            if (views[0][..., 3] > 128).any()
            else random_color(rng),
            (size, size, 3),
        )
        .astype(np.float32)
        .copy()
    )
    spacing = min(longest, size * 0.3) * rng.uniform(0.35, 0.65)
    steps = min(int(np.ceil(size / spacing)) + 1, int(np.sqrt(_MOST)))
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
