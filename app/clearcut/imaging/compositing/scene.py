"""A cutout in front of its background: a color or an image, with an optional shadow."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from clearcut.errors import InvalidInput
from clearcut.imaging.layout import crop_pixels, place_on_canvas, plan_layout
from clearcut.imaging.options import WHITE, RemoveOptions
from clearcut.imaging.types import U8, DecodedImage, Matte

from . import background as backdrops
from . import blend
from .shadow import contact_shadow


def add_background(subject: U8, image: DecodedImage, matte: Matte, options: RemoveOptions, backdrop: U8 | None) -> U8:
    """Blend ``subject``, the cutout on its canvas as u8[h,w,4], over the background that ``options`` describe.

    Returns:
        u8[h,w,3] if the options need no alpha channel, else u8[h,w,4]. A backdrop makes the result opaque.

    Raises:
        InvalidInput: the options need a background image and ``backdrop`` is None.
    """
    background = _background(subject.shape[1], subject.shape[0], image, matte, options, backdrop)
    if options.backdrop == "overlay":
        out = background  # it already contains the subject
    else:
        if options.shadow:
            shadow = np.zeros_like(subject)
            shadow[:, :, 3] = contact_shadow(np.ascontiguousarray(subject[:, :, 3]), options.shadow)
            background = blend.alpha_over(shadow, background)
        out = blend.alpha_over(subject, background)
    return np.asarray(cv2.cvtColor(out, cv2.COLOR_RGBA2RGB), np.uint8) if options.opaque else out


def _background(
    width: int, height: int, image: DecodedImage, matte: Matte, options: RemoveOptions, backdrop: U8 | None
) -> U8:
    """Return the background without shadow, u8[h,w,4]."""
    color = options.background or (WHITE if options.opaque else (0, 0, 0, 0))
    if options.opaque:
        color = blend.over_white(color)
    match options.backdrop:
        case "image":
            if backdrop is None:
                raise InvalidInput("background", "an image file, because the backdrop is image")
            rgb = backdrops.scale_to_cover(backdrop, width, height)
        case "blur":
            rgb = _apply_layout(backdrops.blur_background(image.rgb, matte), image, matte, options)
        case "overlay":
            rgb = _apply_layout(backdrops.overlay(image.rgb, matte.alpha), image, matte, options)
        case "none":
            flat = np.empty((height, width, 4), np.uint8)
            flat[:] = color
            return flat
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA), np.uint8)


def _apply_layout(rgb: U8, image: DecodedImage, matte: Matte, options: RemoveOptions) -> U8:
    """Lay out a backdrop made from the image like the image itself; scale and position apply to the subject alone."""
    layout = plan_layout(image.width, image.height, matte.box, replace(options, scale=None, position=None))
    shown = crop_pixels(rgb, layout.source)
    if layout.scales:
        shown = blend.resize(shown, layout.target.width, layout.target.height)
    return place_on_canvas(shown, layout, WHITE[:3])
