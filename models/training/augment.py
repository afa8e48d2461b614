"""Geometric and photometric augmentation of one image, and of an object pasted into another scene.

The functions work on small uint8 and float32 arrays with OpenCV. A sample takes a few milliseconds. All randomness
comes from the generator that the caller passes.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Rng = np.random.Generator

_GAP = 0.03
"""Distance between a subject and a part beside it, as a share of the image's side."""
_MIN_BESIDE = 96
"""Minimum width and height of a part beside a subject, pixels."""


def view(rgba: U8, size: int, rng: Rng, *, low: float = 0.55, high: float = 1.1) -> U8:
    """Return a random crop, stretch, rotation and mirroring of a whole image: u8[H,W,4] to u8[S,S,4].

    Most samples show nearly the whole frame, because the service sees whole frames.
    """
    h, w = rgba.shape[:2]
    scale = high - (high - low) * rng.beta(1.2, 1.8)
    stretch = np.exp(rng.normal(0, 0.10))
    crop_w, crop_h = w * min(scale * stretch, 1.15), h * min(scale / stretch, 1.15)
    cx = w / 2 + rng.uniform(-0.5, 0.5) * max(w - crop_w, 0.06 * w)
    cy = h / 2 + rng.uniform(-0.5, 0.5) * max(h - crop_h, 0.06 * h)
    turn = np.deg2rad(rng.normal(0, 6) if rng.random() < 0.6 else 0.0)
    if rng.random() < 0.04:
        turn += rng.choice([0.5, 1.0, 1.5]) * np.pi
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = np.cos(turn), np.sin(turn)
    # Output pixel to input pixel, so that crop, rotation and stretch are one interpolation.
    ax, ay = mirror * crop_w / size, crop_h / size
    matrix = np.array([[cos * ax, -sin * ay, 0], [sin * ax, cos * ay, 0]])
    matrix[:, 2] = (cx, cy) - matrix[:, :2] @ (size / 2, size / 2)
    shrink = max(crop_w, crop_h) / size
    if shrink > 1.5:  # plain bilinear sampling would alias where inference averages areas
        rgba = cv2.resize(rgba, None, fx=1.25 / shrink, fy=1.25 / shrink, interpolation=cv2.INTER_AREA)
        matrix = np.diag([rgba.shape[1] / w, rgba.shape[0] / h]) @ matrix
    return cv2.warpAffine(
        rgba, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101
    ).astype(np.uint8)


def close_up(rgba: U8, box: tuple[int, int, int, int], rng: Rng) -> U8:
    """Return the part of an image around ``box`` (left, top, right, bottom): u8[H,W,4] to u8[h,w,4], a view.

    The second pass of the service shows the network such parts, with a margin of a quarter of the box.
    """
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    if min(width, height) < 16:
        return rgba
    before_x, after_x, before_y, after_y = rng.uniform(0.1, 0.45, 4)
    top, bottom = max(0, int(top - before_y * height)), int(np.ceil(bottom + after_y * height))
    left, right = max(0, int(left - before_x * width)), int(np.ceil(right + after_x * width))
    return rgba[top:bottom, left:right]


def beside(rgba: U8, box: tuple[int, int, int, int], rng: Rng) -> U8 | None:
    """Return a part of an image on one side of ``box`` (left, top, right, bottom), without a pixel of the box.

    u8[H,W,4] to u8[h,w,4], a view. Its longer side is at most twice the shorter one. None if no side has room.
    """
    height, width = rgba.shape[:2]
    left, top, right, bottom = box
    gap_x, gap_y = _GAP * width, _GAP * height
    sides = (
        (0, 0, int(left - gap_x), height),
        (int(np.ceil(right + gap_x)), 0, width, height),
        (0, 0, width, int(top - gap_y)),
        (0, int(np.ceil(bottom + gap_y)), width, height),
    )
    fitting = [each for each in sides if min(each[2] - each[0], each[3] - each[1]) >= _MIN_BESIDE]
    if not fitting:
        return None
    left, top, right, bottom = fitting[rng.integers(len(fitting))]
    length = 2 * min(right - left, bottom - top)
    left += rng.integers(max(0, right - left - length) + 1)
    top += rng.integers(max(0, bottom - top - length) + 1)
    return rgba[top : min(bottom, top + length), left : min(right, left + length)]


def place(
    rgba: U8, box: tuple[int, int, int, int], size: int, rng: Rng, *, reach: tuple[float, float] = (0.35, 1.4)
) -> U8:
    """Place one object into an empty square: u8[H,W,4] to u8[S,S,4], alpha 0 outside.

    An object that is cut off at the bottom of its own image stays at the bottom border.
    """
    left, top, right, bottom = box
    width, height = max(right - left, 1), max(bottom - top, 1)
    aspect = np.exp(rng.uniform(-0.45, 0.45))  # of the image that is resized to the square
    target = size * (reach[0] + (reach[1] - reach[0]) * rng.beta(1.6, 1.4))  # close-ups are common
    fx = target / max(width, height) / np.sqrt(aspect)
    fy = target / max(width, height) * np.sqrt(aspect)
    grounded = bottom >= rgba.shape[0] - 2 and rng.random() < 0.9
    turn = 0.0 if grounded or rng.random() < 0.4 else np.deg2rad(rng.normal(0, 14))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([mirror * fx, fy])
    span_x, span_y = width * fx, height * fy
    slack_x, slack_y = abs(size - span_x) / 2 + 0.08 * size, abs(size - span_y) / 2 + 0.04 * size
    at = np.array([size / 2 + rng.uniform(-1, 1) * slack_x, size / 2 + rng.uniform(-1, 1) * slack_y])
    if grounded:
        at[1] = size - span_y / 2 + 1
    elif rng.random() < 0.6:  # objects are mostly in the lower half
        at[1] += rng.uniform(0, 0.5) * max(size - span_y, 0) / 2
    offset = at - matrix @ ((left + right) / 2, (top + bottom) / 2)
    return cv2.warpAffine(
        rgba,
        np.column_stack([matrix, offset]),
        (size, size),
        flags=cv2.INTER_AREA if fx < 0.6 else cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    ).astype(np.uint8)


def clean_edge(layer: U8, rng: Rng) -> tuple[F32, F32]:
    """Extend the object's colors outwards over its edge, and soften or tighten the edge.

    u8[S,S,4] to colors f32[S,S,3] in 0..255 and alpha f32[S,S,1] in 0..1. Without this every pasted object keeps a
    thin border of its old background, and the network learns to look for it.
    """
    alpha = layer[..., 3].astype(np.float32) / 255
    if rng.random() < 0.5:
        alpha = np.clip(alpha * 1.35 - rng.uniform(0.2, 0.35), 0, 1)
    if rng.random() < 0.35:
        alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.4, 1.1)).astype(np.float32)
    sure = np.where(alpha > 0.9, 1, 0).astype(np.float32)
    color = layer[..., :3].astype(np.float32)
    weight = cv2.blur(sure, (7, 7))
    spread = cv2.blur(color * sure[..., None], (7, 7)) / np.maximum(weight, 1e-3)[..., None]
    keep = (sure > 0) | (weight < 0.02)
    return np.where(keep[..., None], color, spread).astype(np.float32), alpha[..., None]


def match_color(color: F32, alpha: F32, scene: F32, amount: float) -> F32:
    """Move the object's mean and standard deviation per channel towards the scene's (Reinhard et al. 2001)."""
    step = max(1, scene.shape[0] // 48)
    inside = alpha[::step, ::step, 0] > 0.5
    if inside.sum() < 8:
        return color
    own = color[::step, ::step][inside]
    other = scene[::step, ::step].reshape(-1, 3)
    ratio = np.clip((other.std(0) + 8) / (own.std(0) + 8), 0.6, 1.5) ** amount
    shift = (other.mean(0) - own.mean(0)) * 0.6 * amount
    return ((color - own.mean(0)) * ratio + own.mean(0) + shift).astype(np.float32)


def shadow(alpha: F32, rng: Rng) -> F32:
    """Return the soft shadow of an object: f32[S,S,1] in 0..1 to a darkening factor f32[S,S,1] in 0..1."""
    size = alpha.shape[0]
    half = cv2.resize(alpha[..., 0], (size // 2, size // 2), interpolation=cv2.INTER_AREA)
    rows = np.flatnonzero(half.max(axis=1) > 0.3)
    if not len(rows):
        return np.ones_like(alpha)
    foot = float(rows[-1])
    if rng.random() < 0.6:  # on the floor: compressed towards the base and sheared
        flat, shear = rng.uniform(0.05, 0.5), rng.normal(0, 0.6)
        matrix = np.array([[1, -shear, shear * foot], [0, flat, foot * (1 - flat)]])
    else:  # on a wall behind the object
        dx, dy = rng.normal(0, 0.05 * size, 2) / 2
        matrix = np.array([[1, 0, dx], [0, 1, abs(dy)]])
    cast = cv2.warpAffine(half, matrix, half.shape[::-1])
    cast = cv2.GaussianBlur(cast, (0, 0), rng.uniform(0.6, 0.03 * size))
    cast = cv2.resize(cast, (size, size), interpolation=cv2.INTER_LINEAR)
    return (1 - rng.uniform(0.15, 0.7) * cast[..., None]).astype(np.float32)


def merge(scene: F32, seen: F32, layer: U8, rng: Rng) -> tuple[F32, F32]:
    """Blend an object over a scene: (f32[S,S,3], alpha so far f32[S,S,1]) to the same, updated."""
    color, alpha = clean_edge(layer, rng)
    if rng.random() < 0.35:
        color = match_color(color, alpha, scene, rng.uniform(0.2, 0.8))
    if rng.random() < 0.25:  # one side is lit
        ramp = np.linspace(-1, 1, scene.shape[1], dtype=np.float32) * rng.normal(0, 0.25)
        color = color * (1 + (ramp[None, :, None] if rng.random() < 0.6 else ramp[:, None, None]))
    if rng.random() < 0.6:
        scene = scene * shadow(alpha, rng)
    return scene * (1 - alpha) + color * alpha, seen * (1 - alpha) + alpha


def relight(rgb: U8, rng: Rng) -> U8:
    """Change exposure, contrast, gamma, white balance, saturation, blur, noise and JPEG quality of u8[S,S,3]."""
    ramp = np.arange(256, dtype=np.float32) / 255
    gain = np.exp(rng.normal(0, 0.04, 3) + rng.normal(0, 0.10))
    contrast, gamma = np.exp(rng.normal(0, 0.15)), np.exp(rng.normal(0, 0.18))
    table = (np.clip(ramp[:, None] * gain, 0, 1) ** gamma - 0.5) * contrast + 0.5
    table = table + rng.normal(0, 0.04)
    if rng.random() < 0.004:
        table = 1 - table
    rgb = cv2.LUT(rgb, np.clip(table * 255, 0, 255).astype(np.uint8)[:, None, :]).astype(np.uint8)
    if rng.random() < 0.5:
        gray = np.full((3, 3), 1 / 3) if rng.random() < 0.5 else np.tile([[0.3, 0.59, 0.11]], (3, 1))
        amount = 0.0 if rng.random() < 0.12 else np.exp(rng.normal(0, 0.35))
        rgb = cv2.transform(rgb, amount * np.eye(3) + (1 - amount) * gray).astype(np.uint8)
    if rng.random() < 0.03:
        rgb = np.ascontiguousarray(rgb[..., rng.permutation(3)])
    draw = rng.random()
    if draw < 0.12:
        rgb = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.4, 1.4)).astype(np.uint8)
    elif draw < 0.2:
        soft = cv2.GaussianBlur(rgb, (0, 0), 1.0)
        rgb = cv2.addWeighted(rgb, 1.8, soft, -0.8, 0).astype(np.uint8)
    elif draw < 0.32:
        noise = rng.standard_normal(rgb.shape, dtype=np.float32) * rng.uniform(2, 14)
        rgb = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    elif draw < 0.42:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 85))]
        rgb = cv2.imdecode(cv2.imencode(".jpg", rgb, quality)[1], cv2.IMREAD_COLOR).astype(np.uint8)
    return rgb
