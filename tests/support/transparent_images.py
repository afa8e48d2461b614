"""Transparent images: cut-outs, screenshots with round corners, collages with text, logos. All are rendered."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from tests.support import samples


def cutout(name: samples.Photo = "astronaut", width: int = 320, height: int = 240, soft: float = 4.0) -> np.ndarray:
    """Return u8[H,W,4]: a photo within an ellipse. ``soft`` is the width of the edge in pixels; 0 is hard."""
    alpha = samples.disc(height, width, max(soft, 1e-3))
    rgb = samples.photo(name, width, height) * (alpha > 0)[:, :, None]
    return np.dstack([rgb.astype(np.uint8), alpha])


def screenshot(width: int = 640, height: int = 400, radius: int = 12, margin: int = 0, shadow: int = 0) -> np.ndarray:
    """Return u8[H,W,4]: a window with round corners, with anti-aliasing, on a transparent canvas.

    Args:
        margin: transparent pixels around the window.
        shadow: radius of a soft shadow in the margin, pixels.
    """
    inner = width - 2 * margin, height - 2 * margin
    mask = Image.new("L", (4 * inner[0], 4 * inner[1]), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * inner[0] - 1, 4 * inner[1] - 1), 4 * radius, fill=255)
    window = Image.fromarray(samples.photo("coffee", *inner))
    window.putalpha(mask.resize(inner, Image.Resampling.BOX))
    draw = ImageDraw.Draw(window)
    draw.rectangle((0, inner[1] // 12, inner[0], inner[1] // 8), fill=(240, 240, 240, 255))
    canvas = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    if shadow:
        shade = Image.new("RGBA", (width, height), (0, 0, 0, 0))
        shade.paste((0, 0, 0, 110), (margin, margin), window.getchannel("A"))
        canvas.alpha_composite(shade.filter(ImageFilter.GaussianBlur(shadow)))
    canvas.alpha_composite(window, (margin, margin))
    return np.array(canvas)


def collage(width: int = 640, height: int = 400, text: str = "SUMMER SALE 50 %", hard: bool = False) -> np.ndarray:
    """Return u8[H,W,4]: two photos and a line of text on a transparent canvas. ``hard``: no anti-aliasing."""
    canvas = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    side = height // 2
    for left, name in ((width // 12, "chelsea"), (width - width // 12 - side, "rocket")):
        canvas.paste(Image.fromarray(samples.photo(name, side, side)), (left, height // 10))  # type: ignore[arg-type]
    draw = ImageDraw.Draw(canvas)
    draw.fontmode = "1" if hard else "L"
    font = ImageFont.load_default(height // 9)
    draw.text((width // 10, height - height // 4), text, fill=(200, 30, 40, 255), font=font)
    return np.array(canvas)


def logo(side: int = 300) -> np.ndarray:
    """Return u8[S,S,4]: one flat square with hard edges in the middle of a transparent canvas."""
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[side // 4 : -side // 4, side // 4 : -side // 4] = (20, 90, 200, 255)
    return pixels
