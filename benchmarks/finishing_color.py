"""Remaining background color in the soft edge.

Cut-outs with known color and alpha, keyed from white backdrops, are placed on background photographs at their own
size. The error is the mean absolute difference between the estimated and the true foreground color over 0 < alpha <
1, in 0..255. Every method gets the true alpha. Time is CPU time on some of them, enlarged to one megapixel.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from clearcut.imaging.matting.foreground import estimate_foreground
from clearcut.imaging.types import U8

SOURCES = {"white_magento": 20, "white_caltech101": 20}
"""Number of cut-outs of each source, the last ones by the hash of their names. The windows were tuned on the first
ones.
"""
TIMED = 6
OPAQUE_BORDER = 0.6
"""Smallest alpha at which the cut-out's color can be separated from the white backdrop. Below it the color is filled
in.
"""


def cut_outs(data: Path) -> Iterator[tuple[U8, U8]]:
    entries = json.loads((data / "train" / "manifest.json").read_text())
    for source, count in SOURCES.items():
        stems = [entry["stem"] for entry in entries if entry["source"] == source]
        for stem in sorted(stems, key=lambda stem: hashlib.sha1(stem.encode()).hexdigest())[-count:]:
            photo = cv2.cvtColor(cv2.imread(str(data / "train/images" / f"{stem}.jpg")), cv2.COLOR_BGR2RGB)
            alpha = cv2.imread(str(data / "train/mattes" / f"{stem}.png"), cv2.IMREAD_GRAYSCALE)
            yield own_color(photo, alpha), alpha


def own_color(photo: U8, alpha: U8) -> U8:
    """Return the cut-out's color without the white: unmixed where nearly opaque, extended outwards from there."""
    share = (alpha / 255.0).astype(np.float32)[..., None]
    known = (share > OPAQUE_BORDER).astype(np.float32)
    color = np.clip((photo - (1 - share) * 255) / np.maximum(share, 0.05), 0, 255).astype(np.float32) * known
    filled, weight = color.copy(), known.copy()
    for sigma in (1, 2, 4, 8, 16):
        near = cv2.GaussianBlur(known, (0, 0), sigma)[..., None]
        hole = (weight == 0) & (near > 1e-3)
        spread = cv2.GaussianBlur(color, (0, 0), sigma) / np.maximum(near, 1e-6)
        filled = np.where(hole, spread, filled)
        weight = np.where(hole, 1, weight)
    return np.clip(filled + 0.5, 0, 255).astype(np.uint8)


def composites(data: Path) -> Iterator[tuple[U8, U8, U8]]:
    """Yield image, alpha and true foreground."""
    rng = np.random.default_rng(11)
    backgrounds = sorted((data / "train" / "backgrounds").glob("*.jpg"))
    for color, alpha in cut_outs(data):
        background = cv2.cvtColor(cv2.imread(str(backgrounds[rng.integers(len(backgrounds))])), cv2.COLOR_BGR2RGB)
        background = cv2.resize(background, alpha.shape[::-1], interpolation=cv2.INTER_CUBIC)
        share = (alpha / 255.0)[..., None]
        mixed = share * color + (1 - share) * background + rng.normal(0, 1.5, color.shape)
        yield np.clip(mixed + 0.5, 0, 255).astype(np.uint8), alpha, color


def on_plain(data: Path) -> Iterator[tuple[U8, U8]]:
    """Yield images and alphas: the same cut-outs on backdrops of one hue with a brightness gradient, as in product
    photos.
    """
    rng = np.random.default_rng(5)
    for color, alpha in cut_outs(data):
        level = rng.choice([250, 240, 225, 200, 128, 60]) + rng.normal(0, 6, 3)
        down, across = np.mgrid[: alpha.shape[0], : alpha.shape[1]] / max(alpha.shape)
        background = level + (rng.normal(0, 18) * down + rng.normal(0, 18) * across)[..., None]
        share = (alpha / 255.0)[..., None]
        mixed = share * color + (1 - share) * background + rng.normal(0, 2, color.shape)
        yield np.clip(mixed + 0.5, 0, 255).astype(np.uint8), alpha


def multi_level(rgb: U8, alpha: U8) -> U8:
    from pymatting import estimate_foreground_ml

    return np.clip(estimate_foreground_ml(rgb / 255.0, alpha / 255.0) * 255 + 0.5, 0, 255).astype(np.uint8)


METHODS: dict[str, Callable[[U8, U8], U8]] = {
    "none": lambda rgb, _: rgb,
    "ours": estimate_foreground,
    "pymatting ml": multi_level,
}


def measure(data: Path) -> dict[str, dict[str, float]]:
    errors: dict[str, list[float]] = {name: [] for name in METHODS}
    took: dict[str, list[float]] = {name: [] for name in METHODS}
    for number, (rgb, alpha, truth) in enumerate(composites(data)):
        soft = (alpha > 0) & (alpha < 255)
        for name, method in METHODS.items():
            errors[name].append(float(cv2.absdiff(method(rgb, alpha), truth)[soft].mean()))
        if number < TIMED:
            scale = (1e6 / alpha.size) ** 0.5
            large, large_alpha = (cv2.resize(plane, None, fx=scale, fy=scale) for plane in (rgb, alpha))
            for name, method in METHODS.items():
                took[name].append(min(seconds(method, large, large_alpha) for _ in range(3)))
    plain = float(np.mean(errors["none"]))
    return {
        name: {
            "error": round(float(np.mean(errors[name])), 3),
            "share_of_none": round(float(np.mean(errors[name])) / plain, 4),
            "cpu_ms": round(1e3 * float(np.median(took[name])), 2),
        }
        for name in METHODS
    }


def seconds(method: Callable[[U8, U8], U8], rgb: U8, alpha: U8) -> float:
    start = time.thread_time()
    method(rgb, alpha)
    return time.thread_time() - start


def show(result: dict[str, dict[str, float]]) -> None:
    print(f"\n{'foreground color':18s}{'error':>8s}{'share':>8s}{'ms':>9s}")
    for name, row in result.items():
        print(f"{name:18s}{row['error']:8.2f}{row['share_of_none']:8.3f}{row['cpu_ms']:9.2f}")
