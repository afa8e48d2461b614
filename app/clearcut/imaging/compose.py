"""compose: the picture and its matte become what the caller asked for, in crop, size, channels and background."""

from __future__ import annotations

from .compositing import blend, scene
from .layout import crop_pixels, place, plan_layout
from .options import WHITE, RemoveOptions
from .types import U8, Cutout, DecodedImage, Matte


def compose(image: DecodedImage, matte: Matte, options: RemoveOptions, backdrop: U8 | None = None) -> Cutout:
    """The cut-out as u8[h,w,4] straight RGBA, u8[h,w,3] or u8[h,w,1], by ``options``.

    ``backdrop``: the caller's own background, u8[H,W,3] of any size, for ``options.backdrop`` "image".

    ``matte.alpha`` is taken as the last word on transparency, the picture's own included. RGB is 0 wherever alpha is
    0; without resizing it equals ``matte.foreground`` wherever alpha is 255. Without a subject a crop shows the full
    frame. The result may share memory with ``matte``.

    Raises:
        InvalidOption: crop, padding or size ask for a canvas beyond the limit (see ``layout.plan``), or there is no
            backdrop where one was asked for.
    """
    layout = plan_layout(image.width, image.height, matte.box, options)
    alpha = crop_pixels(matte.alpha, layout.source)
    if options.channels == "alpha":
        if layout.scales:
            alpha = blend.resize(alpha, layout.target.width, layout.target.height)
        return Cutout(place(alpha[:, :, None], layout, (0,)))
    rgb = crop_pixels(matte.foreground, layout.source)
    if layout.scales:
        rgb, alpha = blend.resize_masked(rgb, alpha, layout.target.width, layout.target.height)
    if options.backdrop != "none" or options.shadow:
        front = place(blend.to_rgba(rgb, alpha), layout, (0, 0, 0, 0))
        return Cutout(scene.add_background(front, image, matte, options, backdrop))
    if options.opaque:
        ground = blend.on_white(options.background or WHITE)
        return Cutout(place(blend.flatten(rgb, alpha, ground), layout, ground[:3]))
    ground = options.background or (0, 0, 0, 0)
    if ground[3] == 0:
        ground = (0, 0, 0, 0)
    return Cutout(place(blend.over(rgb, alpha, ground), layout, ground))
