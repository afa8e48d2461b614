"""compose: combine the image and its matte into the requested output: crop, size, channels and background."""

from __future__ import annotations

from .compositing import blend, scene
from .layout import crop_pixels, place_on_canvas, plan_layout
from .options import WHITE, RemoveOptions
from .types import U8, ComposedImage, DecodedImage, MaskedImage, Matte


def compose_for_file(
    image: DecodedImage, matte: Matte, options: RemoveOptions, backdrop: U8 | None = None
) -> ComposedImage | MaskedImage:
    """Return ``compose``, or color and alpha apart for an encoder that joins them strip by strip."""
    transparent = options.channels == "rgba" and options.background is None and not options.opaque
    if transparent and options.backdrop == "none" and not options.shadow:
        layout = plan_layout(image.width, image.height, matte.box, options)
        if layout.fills and not layout.scales:
            return MaskedImage(crop_pixels(matte.foreground, layout.source), crop_pixels(matte.alpha, layout.source))
    return compose(image, matte, options, backdrop)


def compose(image: DecodedImage, matte: Matte, options: RemoveOptions, backdrop: U8 | None = None) -> ComposedImage:
    """Return the cutout as u8[h,w,4] straight RGBA, u8[h,w,3] RGB or u8[h,w,1] alpha.

    ``matte.alpha`` already includes the transparency of the image. RGB is 0 wherever alpha is 0. Without resizing, RGB
    equals ``matte.foreground`` wherever alpha is 255. Without a subject, a crop shows the full frame. The result may
    share memory with ``matte``.

    Args:
        backdrop: the caller's background image, u8[H,W,3] of any size, for ``options.backdrop`` "image".

    Raises:
        InvalidOption: the canvas would exceed the limit; see ``plan_layout``.
        InvalidInput: the options need a background image and ``backdrop`` is None.
    """
    layout = plan_layout(image.width, image.height, matte.box, options)
    alpha = crop_pixels(matte.alpha, layout.source)
    if options.channels == "alpha":
        if layout.scales:
            alpha = blend.resize(alpha, layout.target.width, layout.target.height)
        return ComposedImage(place_on_canvas(alpha[:, :, None], layout, (0,)))
    rgb = crop_pixels(matte.foreground, layout.source)
    if layout.scales:
        rgb, alpha = blend.resize_masked(rgb, alpha, layout.target.width, layout.target.height)
    if options.backdrop != "none" or options.shadow:
        subject = place_on_canvas(blend.to_rgba(rgb, alpha), layout, (0, 0, 0, 0))
        return ComposedImage(scene.add_background(subject, image, matte, options, backdrop))
    if options.opaque:
        background = blend.over_white(options.background or WHITE)
        return ComposedImage(place_on_canvas(blend.flatten(rgb, alpha, background), layout, background[:3]))
    background = options.background or (0, 0, 0, 0)
    if background[3] == 0:
        background = (0, 0, 0, 0)
    return ComposedImage(place_on_canvas(blend.over_color(rgb, alpha, background), layout, background))
