"""A cut-out in a scene: a backdrop that is a picture, a shadow on it, the subject in front."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from clearcut.errors import InvalidInput
from clearcut.imaging.layout import crop_pixels, place, plan_layout
from clearcut.imaging.options import WHITE, RemoveOptions
from clearcut.imaging.types import U8, DecodedImage, Matte

from . import background as backdrops
from . import blend
from .shadow import contact_shadow


def add_background(front: U8, image: DecodedImage, matte: Matte, options: RemoveOptions, backdrop: U8 | None) -> U8:
    """``front``, the cut-out on its canvas as u8[h,w,4], with what ``options`` put behind it.

    u8[h,w,3] when the options ask for no alpha channel, else u8[h,w,4]; a backdrop makes it opaque.

    Raises:
        InvalidOption: the backdrop is to be the caller's picture and there is none.
    """
    ground = _ground(front.shape[1], front.shape[0], image, matte, options, backdrop)
    if options.backdrop == "overlay":
        out = ground  # the subject is in the picture already
    else:
        if options.shadow:
            dark = np.zeros_like(front)
            dark[:, :, 3] = contact_shadow(np.ascontiguousarray(front[:, :, 3]), options.shadow)
            ground = blend.alpha_over(dark, ground)
        out = blend.alpha_over(front, ground)
    return np.asarray(cv2.cvtColor(out, cv2.COLOR_RGBA2RGB), np.uint8) if options.opaque else out


def _ground(
    width: int, height: int, image: DecodedImage, matte: Matte, options: RemoveOptions, backdrop: U8 | None
) -> U8:
    """What lies at the very back, u8[h,w,4]."""
    colour = options.background or (WHITE if options.opaque else (0, 0, 0, 0))
    if options.opaque:
        colour = blend.on_white(colour)
    match options.backdrop:
        case "image":
            if backdrop is None:
                raise InvalidInput("background", "an image file, because the backdrop is image")
            picture = backdrops.scale_to_cover(backdrop, width, height)
        case "blur":
            picture = _framed(backdrops.blur_background(image.rgb, matte), image, matte, options)
        case "overlay":
            picture = _framed(backdrops.overlay(image.rgb, matte.alpha), image, matte, options)
        case "none":
            flat = np.empty((height, width, 4), np.uint8)
            flat[:] = colour
            return flat
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA), np.uint8)


def _framed(picture: U8, image: DecodedImage, matte: Matte, options: RemoveOptions) -> U8:
    """A backdrop made of the picture itself, laid out as the picture is; the subject alone may be moved or scaled."""
    layout = plan_layout(image.width, image.height, matte.box, replace(options, scale=None, position=None))
    shown = crop_pixels(picture, layout.source)
    if layout.scales:
        shown = blend.resize(shown, layout.target.width, layout.target.height)
    return place(shown, layout, WHITE[:3])
