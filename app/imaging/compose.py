"""compose: the picture and its matte become what the caller asked for, in crop, size, channels and background."""

from __future__ import annotations

import numpy as np

from app.imaging import blend
from app.imaging.layout import Layout, plan
from app.imaging.options import WHITE, RemoveOptions
from app.imaging.types import U8, Box, Color, Cutout, DecodedImage, Matte


def compose(image: DecodedImage, matte: Matte, options: RemoveOptions) -> Cutout:
    """The cut-out as u8[h,w,4] straight RGBA, u8[h,w,3] or u8[h,w,1], by ``options``.

    ``matte.alpha`` is taken as the last word on transparency, the picture's own included. RGB is 0 wherever alpha is
    0; without resizing it equals ``matte.foreground`` wherever alpha is 255. Without a subject a crop shows the full
    frame. The result may share memory with ``matte``.

    Raises:
        InvalidOption: crop, padding or size ask for a canvas beyond the limit (see ``layout.plan``).
    """
    layout = plan(image.width, image.height, matte.box, options)
    alpha = _cut(matte.alpha, layout.source)
    if options.channels == "alpha":
        if layout.scales:
            alpha = blend.resize(alpha, layout.target.width, layout.target.height)
        return Cutout(_place(alpha[:, :, None], layout, (0,)))
    rgb = _cut(matte.foreground, layout.source)
    if layout.scales:
        rgb, alpha = blend.resize_masked(rgb, alpha, layout.target.width, layout.target.height)
    if options.opaque:
        ground = _on_white(options.background or WHITE)
        return Cutout(_place(blend.flatten(rgb, alpha, ground), layout, ground[:3]))
    ground = options.background or (0, 0, 0, 0)
    if ground[3] == 0:
        ground = (0, 0, 0, 0)
    return Cutout(_place(blend.over(rgb, alpha, ground), layout, ground))


def _cut(pixels: U8, box: Box) -> U8:
    return pixels[box.top : box.bottom, box.left : box.right]


def _place(pixels: U8, layout: Layout, ground: tuple[int, ...]) -> U8:
    """``pixels`` on the canvas, with ``ground`` around them; no copy when they fill it."""
    if layout.fills:
        return np.ascontiguousarray(pixels)
    canvas = np.zeros((layout.height, layout.width, len(ground)), np.uint8)
    if any(ground):
        canvas[:] = ground
    target = layout.target
    canvas[target.top : target.bottom, target.left : target.right] = pixels
    return canvas


def _on_white(color: Color) -> Color:
    """A translucent background under an opaque output lies on white, as transparent ones do."""
    share = color[3]
    red, green, blue = (round((level * share + 255 * (255 - share)) / 255) for level in color[:3])
    return red, green, blue, 255
