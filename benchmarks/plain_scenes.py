"""Images of subjects on plain backgrounds with exact mattes: held-out cut-outs of products, and drawn objects.

All images are functions of a seed. The cut-outs are the held-out part of the training pool (``models.training.data``),
divided in two halves: ``tuning`` for constants, ``report`` for published figures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.training import drawn
from models.training.augment import place
from models.training.data import alpha_box, is_held_out, unmix_white
from models.training.drawn.pen import Layer, Pen
from models.training.scenes import random_color

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Rng = np.random.Generator

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (253, 253, 253),
    "light gray": (226, 227, 229),
    "gray": (140, 140, 142),
    "beige": (222, 205, 180),
    "dark": (38, 38, 42),
    "blue": (70, 110, 180),
}
HALVES = {"tuning": 0, "report": 1}
SEEDS = {"tuning": 9_100_000, "report": 9_770_000}
"""Of each half. The report seed was new when the constants were final; no constant was chosen with it."""
DRAWN = ("ring", "frame", "strap", "chain", "box", "signature", "wordmark", "flat_art", "sprite", "several", "text")
SMALL_SHARES = 0.06, 0.09, 0.13, 0.18, 0.25, 0.35
"""Longer sides of small products, relative to that of the image."""
_WHITE = 235
"""Lowest level of every channel of a pixel that the key cannot separate from the white of a source photo."""
_MAX_WHITE_RIM = 0.05
"""Maximum ``white_rim`` of a cut-out with a clear reference matte."""
_LEAST_CONTRAST = 16
"""Levels by which nearly all of a drawn subject differs from the background."""
_WORDS = ("SALE", "Clear cut", "Made for tea", "No. 14", "Open daily", "Rosa & Oak", "quiet blue", "STUDIO 9")


@dataclass(frozen=True, slots=True)
class Scene:
    """An encoded image with its exact matte."""

    name: str
    family: str
    data: bytes
    truth: U8
    """u8[H,W]."""
    is_small: bool = False
    """Whether the subject is so small that its IoU is measured at full size."""


@dataclass(frozen=True, slots=True)
class Cutout:
    stem: str
    rgba: U8
    """u8[h,w,4], cropped to the subject."""
    grounded: bool
    """Whether the subject is cut off at the bottom."""
    white_rim: float
    """Share of the outermost pixels of the subject that are white in the source photo, 0..1."""


def cutouts(data: Path, half: str) -> list[Cutout]:
    """Return one half of the held-out product cut-outs of ``train/``, none if it is absent."""
    train = data / "train"
    if not (train / "manifest.json").is_file():
        return []
    rows = json.loads((train / "manifest.json").read_text())
    stems = sorted(row["stem"] for row in rows if row["source"].startswith("white_") and is_held_out(row["stem"]))
    found = []
    for stem in stems[HALVES[half] :: 2]:
        rgb = cv2.cvtColor(cv2.imread(str(train / "images" / f"{stem}.jpg")), cv2.COLOR_BGR2RGB).astype(np.uint8)
        alpha = np.asarray(cv2.imread(str(train / "mattes" / f"{stem}.png"), cv2.IMREAD_GRAYSCALE), np.uint8)
        alpha = np.asarray(cv2.resize(alpha, rgb.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)
        left, top, right, bottom = alpha_box(alpha)
        height, width = alpha.shape
        if left < 2 or top < 2 or right > width - 2 or (right - left) * (bottom - top) < 0.04 * alpha.size:
            continue
        rgba = np.dstack([unmix_white(rgb, alpha), alpha])[top:bottom, left:right]
        subject = (alpha >= 128).astype(np.uint8)
        rim = subject > cv2.erode(subject, np.ones((5, 5), np.uint8))
        white_rim = float((rgb.min(axis=2) >= _WHITE)[rim].mean())
        found.append(Cutout(stem, np.ascontiguousarray(rgba), bottom >= height - 2, white_rim))
    return found


def rendered_cutouts(folder: Path, half: str) -> list[Cutout]:
    """Return one half of the renders with exact mattes that ``plain_renders`` wrote to ``folder``."""
    found = []
    for path in sorted(folder.glob(f"{half}-*.png")):
        rgba = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
        found.append(Cutout(path.stem, np.ascontiguousarray(rgba, np.uint8), False, 0.0))
    return found


def with_clear_reference(shots: Sequence[Cutout]) -> list[Cutout]:
    """Return the cut-outs whose outermost two pixels are hardly ever white in the source photo.

    Where subject and background are white in that photo, the key could not separate them, and the reference matte is
    ragged. The rule depends on photo and reference matte alone, not on a result.
    """
    return [shot for shot in shots if shot.white_rim <= _MAX_WHITE_RIM]


def with_solid_edges(cutout: Cutout) -> Cutout:
    """Return ``cutout`` with the colors of its soft edge replaced by those of the nearest opaque pixels.

    The mattes are keyed from white photos of 352 pixels. Their soft edges hold white of the photo, so that the color of
    an edge does not determine alpha. With solid colors it does, and alpha is the same.
    """
    opaque = cv2.erode((cutout.rgba[..., 3] >= 250).astype(np.uint8), np.ones((3, 3), np.uint8))
    if not opaque.any():
        return cutout
    _, nearest = cv2.distanceTransformWithLabels(1 - opaque, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colors = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
    colors[nearest[opaque > 0]] = cutout.rgba[..., :3][opaque > 0]
    rgb = np.where(opaque[..., None] > 0, cutout.rgba[..., :3], colors[nearest])
    return replace(cutout, rgba=np.ascontiguousarray(np.dstack([rgb, cutout.rgba[..., 3]])))


def backdrop(name: str, rng: Rng, height: int, width: int) -> F32:
    """Return a plain background, f32[h,w,3]: flat, with a gradient, or with a vignette."""
    base = np.clip(np.array(BACKGROUNDS[name]) + rng.normal(0, 2, 3), 0, 255)
    if name == "white" and rng.random() < 0.5:
        return np.full((height, width, 3), 255, np.float32)
    field = np.broadcast_to(base, (height, width, 3)).astype(np.float32)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    kind = rng.random()
    if kind < 0.3:
        turn = rng.uniform(0, 2 * np.pi)
        field = field * (1 - rng.uniform(0.03, 0.1) * (1 + np.cos(turn) * x + np.sin(turn) * y))[..., None]
    elif kind < 0.6:
        cx, cy = rng.uniform(-0.2, 0.2, 2)
        field = field * (1 - rng.uniform(0.04, 0.14) * ((x - cx) ** 2 + (y - cy) ** 2))[..., None]
    return np.clip(field, 0, 255).astype(np.float32)


def soft_shadow(scene: F32, alpha: F32, rng: Rng, *, low: float = 0.1, high: float = 0.4) -> F32:
    """Darken ``scene`` below the subject: a cast shadow or one at its foot."""
    height, width = alpha.shape
    size = max(height, width)
    if rng.random() < 0.5:
        shift = np.float32([[1, 0, rng.normal(0, 0.03) * size], [0, 1, abs(rng.normal(0, 0.02)) * size]])
        cast = cv2.warpAffine(alpha, shift, (width, height))
    else:
        rows = np.flatnonzero(alpha.max(axis=1) > 0.5)
        columns = np.flatnonzero(alpha.max(axis=0) > 0.5)
        if not len(rows):
            return scene
        cast = np.zeros_like(alpha)
        center = int(columns.mean()), int(min(rows[-1], height - 1))
        axes = max(2, int(np.ptp(columns) * 0.45)), max(2, int(0.035 * size))
        cv2.ellipse(cast, center, axes, 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    cast = cv2.GaussianBlur(cast, (0, 0), size * rng.uniform(0.008, 0.03))
    return np.asarray(scene * (1 - rng.uniform(low, high) * cast[..., None]), np.float32)


def encode(rgb: F32, rng: Rng) -> bytes:
    """Add noise and encode as JPEG of quality 75 to 95, or in one of six cases as PNG without noise."""
    if rng.random() < 1 / 6:
        pixels = np.clip(rgb + 0.5, 0, 255).astype(np.uint8)
        return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
    noise = rng.standard_normal(rgb.shape[:2], dtype=np.float32)[..., None] * rng.uniform(0, 1.8)
    noise = noise + rng.standard_normal(rgb.shape, dtype=np.float32) * rng.uniform(0, 1)
    pixels = np.clip(rgb + noise + 0.5, 0, 255).astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(75, 96))]
    return cv2.imencode(".jpg", pixels[..., ::-1], quality)[1].tobytes()


def as_matte(alpha: F32) -> U8:
    return np.clip(alpha * 255 + 0.5, 0, 255).astype(np.uint8)


def placed(cutout: Cutout, rng: Rng) -> tuple[F32, F32]:
    """Return a cut-out on a canvas of 420 to 1000 pixels: colors f32[H,W,3] and alpha f32[H,W] in 0..1."""
    long, aspect = int(rng.integers(420, 1000)), float(np.exp(rng.uniform(-0.3, 0.3)))
    height, width = (long, int(long * aspect)) if aspect < 1 else (int(long / aspect), long)
    h, w = cutout.rgba.shape[:2]
    scale = rng.uniform(0.45, 0.92) * min(height / h, width / w)
    size = max(8, int(w * scale)), max(8, int(h * scale))
    alpha = cutout.rgba[..., 3:].astype(np.float32) / 255
    layer = np.dstack([cutout.rgba[..., :3].astype(np.float32) * alpha, alpha])
    layer = np.asarray(cv2.resize(layer, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA))
    if rng.random() < 0.5:
        layer = layer[:, ::-1]
    spare_x, spare_y = width - size[0], height - size[1]
    left = int(spare_x * rng.uniform(0.25, 0.75))
    top = spare_y if cutout.grounded else int(spare_y * rng.uniform(0.25, 0.75))
    canvas = np.zeros((height, width, 4), np.float32)
    canvas[top : top + size[1], left : left + size[0]] = layer
    alpha = np.clip(canvas[..., 3], 0, 1)
    color = np.clip(canvas[..., :3] / np.maximum(alpha[..., None], 1e-3), 0, 255)
    return color.astype(np.float32), alpha


def placed_small(cutout: Cutout, share: float, rng: Rng) -> tuple[F32, F32]:
    """Return a cut-out anywhere on a canvas of 900 to 2600 pixels, as ``placed`` does.

    Args:
        share: longer side of the subject relative to that of the canvas.
    """
    long, aspect = int(rng.integers(900, 2600)), float(np.exp(rng.uniform(-0.4, 0.4)))
    height, width = (long, int(long * aspect)) if aspect < 1 else (int(long / aspect), long)
    h, w = cutout.rgba.shape[:2]
    scale = min(share * long / max(h, w), 0.95 * height / h, 0.95 * width / w)
    size = max(8, int(w * scale)), max(8, int(h * scale))
    alpha = cutout.rgba[..., 3:].astype(np.float32) / 255
    layer = np.dstack([cutout.rgba[..., :3].astype(np.float32) * alpha, alpha])
    layer = np.asarray(cv2.resize(layer, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA))
    left, top = int((width - size[0]) * rng.uniform(0.1, 0.9)), int((height - size[1]) * rng.uniform(0.1, 0.9))
    canvas = np.zeros((height, width, 4), np.float32)
    canvas[top : top + size[1], left : left + size[0]] = layer
    alpha = np.clip(canvas[..., 3], 0, 1)
    color = np.clip(canvas[..., :3] / np.maximum(alpha[..., None], 1e-3), 0, 255)
    return color.astype(np.float32), alpha


def small_products(shots: Sequence[Cutout], count: int, seed: int) -> Iterator[Scene]:
    """Yield ``count`` images of products of 6 to 35 % of the longer side; half of them have a soft shadow."""
    for number in range(count):
        rng = np.random.default_rng(seed + 900_000 + number)
        share = SMALL_SHARES[number % len(SMALL_SHARES)]
        color, alpha = placed_small(shots[number % len(shots)], share, rng)
        name = list(BACKGROUNDS)[number // 2 % len(BACKGROUNDS)]
        scene = backdrop(name, rng, *alpha.shape)
        if rng.random() < 0.5:
            rows, columns = np.flatnonzero(alpha.max(axis=1)), np.flatnonzero(alpha.max(axis=0))
            around = max(np.ptp(rows), np.ptp(columns)) // 2
            near = tuple(slice(max(0, each[0] - around), each[-1] + around) for each in (rows, columns))
            scene[near] = soft_shadow(scene[near], alpha[near], rng)
        data = encode(over(color, alpha, scene), rng)
        yield Scene(f"{number}-{name}-{share}", "small product", data, as_matte(alpha), is_small=True)


def over(color: F32, alpha: F32, scene: F32) -> F32:
    return np.asarray(color * alpha[..., None] + scene * (1 - alpha[..., None]), np.float32)


def products(shots: Sequence[Cutout], count: int, seed: int, family: str = "product") -> Iterator[Scene]:
    """Yield ``count`` product images, the backgrounds in turn; half of them have a soft shadow."""
    for number in range(count):
        rng = np.random.default_rng(seed + number)
        color, alpha, scene = plain_product(shots, number, rng)
        shaded = rng.random() < 0.5
        if shaded:
            scene = soft_shadow(scene, alpha, rng)
        data = encode(over(color, alpha, scene), rng)
        shot, name = shots[number // len(BACKGROUNDS) % len(shots)], list(BACKGROUNDS)[number % len(BACKGROUNDS)]
        yield Scene(f"{number}-{name}{'-shadow' if shaded else ''}-{shot.stem}", family, data, as_matte(alpha))


def plain_product(shots: Sequence[Cutout], number: int, rng: Rng) -> tuple[F32, F32, F32]:
    """Return color f32[H,W,3] and alpha f32[H,W] of a product, and its background f32[H,W,3] without shadow."""
    color, alpha = placed(shots[number // len(BACKGROUNDS) % len(shots)], rng)
    return color, alpha, backdrop(list(BACKGROUNDS)[number % len(BACKGROUNDS)], rng, *alpha.shape)


def text(pen: Pen) -> list[Layer]:
    """One to three words in Pillow's own font, in one color."""
    height = pen.size * pen.rng.uniform(0.08, 0.22)
    words = str(pen.rng.choice(_WORDS))
    font = ImageFont.load_default(height)
    length = font.getlength(words)
    if length > 0.9 * pen.size:
        font = ImageFont.load_default(height * 0.9 * pen.size / length)
    image = Image.new("L", (pen.size, pen.size))
    left, top, right, bottom = font.getbbox(words)
    corner = (pen.size - left - right) / 2, pen.size * pen.rng.uniform(0.3, 0.6) - (top + bottom) / 2
    ImageDraw.Draw(image).text(corner, words, font=font, fill=255)
    ink = np.broadcast_to(random_color(pen.rng), (pen.size, pen.size, 3)).astype(np.float32)
    return [Layer(ink, np.asarray(image, np.float32) / 255)]


def drawing(family: str, seed: int, shots: Sequence[Cutout], photos: Sequence[U8]) -> Scene | None:
    """Return a drawn object of held-out shapes on a plain background, or None if it hardly differs from it.

    Raises:
        ModuleNotFoundError: the family needs the fonts of the training environment.
    """
    rng = np.random.default_rng(seed)
    size = int(rng.integers(420, 900))

    def photo() -> U8:
        image = photos[int(rng.integers(len(photos)))]
        return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)

    def cutout() -> U8:
        rgba = shots[int(rng.integers(len(shots)))].rgba
        return place(rgba, (0, 0, rgba.shape[1], rgba.shape[0]), size, rng, reach=(0.5, 0.9))

    draw: Callable[[Pen], list[Layer]] = text if family == "text" else drawn.FAMILIES[family][0]
    layers = draw(Pen(size, rng, True, photo, cutout))
    color, alpha = flatten(layers)
    scene = backdrop(str(rng.choice(list(BACKGROUNDS))), rng, size, size)
    subject = alpha > 0.5
    differs = np.abs(color - scene).max(axis=2)[subject] >= _LEAST_CONTRAST
    if subject.mean() < 0.003 or differs.mean() < 0.97:
        return None
    shaded = family in ("ring", "frame", "strap", "box", "several") and rng.random() < 0.5
    if shaded:
        scene = soft_shadow(scene, alpha, rng)
    name = f"{family}-{seed}{'-shadow' if shaded else ''}"
    return Scene(name, family, encode(over(color, alpha, scene), rng), as_matte(alpha))


def drawings(family: str, count: int, seed: int, shots: Sequence[Cutout], photos: Sequence[U8]) -> Iterator[Scene]:
    """Yield ``count`` drawn objects of a family."""
    found, number = 0, 0
    while found < count:
        scene = drawing(family, seed + 1000 * DRAWN.index(family) + number, shots, photos)
        number += 1
        if scene is not None:
            found += 1
            yield scene


def flatten(layers: Sequence[Layer]) -> tuple[F32, F32]:
    """Return the straight color f32[S,S,3] and the alpha f32[S,S] of layers, from back to front."""
    size = layers[0].alpha.shape
    mixed, alpha = np.zeros((*size, 3), np.float32), np.zeros(size, np.float32)
    for layer in layers:
        mixed = mixed * (1 - layer.alpha[..., None]) + layer.color * layer.alpha[..., None]
        alpha = alpha + layer.alpha * (1 - alpha)
    return np.clip(mixed / np.maximum(alpha[..., None], 1e-3), 0, 255).astype(np.float32), alpha
