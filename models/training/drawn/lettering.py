"""Words in the fonts of this side of the hold-out rule, and print on materials."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from models.training import scenes
from models.training.augment import F32, Rng

from .outlines import OUTLINES, fill, make_outline, placed
from .pen import HELD_OUT, Pen

FONT_PACKAGES = {
    "font_roboto": "Roboto",
    "font_manrope": "Manrope",
    "font_amatic_sc": "AmaticSC",
    "font_caladea": "Caladea",
    "font_fredoka_one": "FredokaOne",
    "font_hanken_grotesk": "HankenGrotesk",
    "font_source_serif_pro": "SourceSerifPro",
    "font_source_sans_pro": "SourceSansPro",
    "font_intuitive": "Intuitive",
}
_LETTERS = "ABCDEFGHIJKLMNOPRSTUVWZ"
_SMALL = "aaabcdeeeefghiiklmnnooprrssttuvwyz"


@functools.cache
def _fonts(held_out: bool) -> tuple[str, ...]:
    """Paths of the font files on one side of the hold-out rule."""
    found: list[str] = []
    for package, family in sorted(FONT_PACKAGES.items()):
        if (family in HELD_OUT["font"]) != held_out:
            continue
        for folder in (files("fonts").joinpath("ttf"), files(package)):
            stack = [folder]
            while stack:
                current = stack.pop()
                for child in current.iterdir() if current.is_dir() else ():
                    if child.is_dir():
                        stack.append(child)
                    elif child.name.startswith(family) and child.name.endswith((".ttf", ".otf")):
                        found.append(str(child))
    return tuple(sorted(set(found)))


@functools.lru_cache(maxsize=256)
def _font(path: str, pixels: int) -> Any:
    return ImageFont.truetype(path, pixels)


def _word(rng: Rng) -> str:
    return str(rng.choice(list(_LETTERS))) + "".join(rng.choice(list(_SMALL), rng.integers(1, 8)))


def text_coverage(pen: Pen, height: float, at: F32 | None = None) -> F32:
    """Coverage of one to three words: f32[S,S]."""
    words = " ".join(_word(pen.rng) for _ in range(int(pen.rng.integers(1, 4))))
    if pen.rng.random() < 0.4:
        words = words.upper()
    path = str(pen.rng.choice(_fonts(pen.held_out)))
    font = _font(path, max(6, round(height)))
    if font.getlength(words) > 0.94 * pen.size:  # most words fit into the image
        font = _font(path, max(6, int(height * 0.94 * pen.size / font.getlength(words))))
    image = Image.new("L", (pen.size, pen.size))
    left, top, right, bottom = font.getbbox(words)
    if at is None:
        at = pen.rng.uniform(0, 0.9, 2).astype(np.float32) * pen.size
    corner = (float(at[0]) - (right + left) / 2, float(at[1]) - (bottom + top) / 2)
    ImageDraw.Draw(image).text(corner, words, font=font, fill=255)
    return np.asarray(image, np.float32) / 255


def with_print(pen: Pen, base: F32) -> F32:
    """Print on a material: text, shapes, stripes or a photo, f32[S,S,3]."""
    out = base.copy()
    for _ in range(int(pen.rng.integers(1, 5))):
        draw = pen.rng.random()
        if draw < 0.45:
            mark, color = text_coverage(pen, pen.size * pen.rng.uniform(0.04, 0.2)), scenes.random_color(pen.rng)
        elif draw < 0.8:
            points = placed(
                make_outline(pen.choose("outline", OUTLINES), pen.rng),
                pen.rng.uniform(0, pen.size, 2).astype(np.float32),
                pen.size * pen.rng.uniform(0.03, 0.3),
                pen.rng,
            )
            mark, color = fill(pen.size, points), scenes.random_color(pen.rng)
        else:
            mark = np.zeros((pen.size, pen.size), np.float32)
            x, y = pen.rng.integers(0, pen.size // 2, 2)
            w, h = pen.rng.integers(pen.size // 6, pen.size // 2, 2)
            mark[y : y + h, x : x + w] = 1
            color = pen.photo().astype(np.float32)
        out = out * (1 - mark[..., None]) + color * mark[..., None]
    return out.astype(np.float32)
