"""Where everything goes: which part of the picture is shown, how large, and where on which canvas."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from clearcut.errors import InvalidOption

from .options import Padding, RemoveOptions
from .types import U8, Box

MAX_CANVAS = 50_000_000
"""Pixels of an output that is larger than its picture: padding, a crop ratio or an exact size may make it so."""


@dataclass(frozen=True, slots=True)
class Layout:
    """``source``, a part of the picture, is scaled onto ``target``, a part of the canvas; the rest is background."""

    source: Box
    target: Box
    width: int
    height: int

    @property
    def scales(self) -> bool:
        return (self.source.width, self.source.height) != (self.target.width, self.target.height)

    @property
    def fills(self) -> bool:
        """Whether the canvas has no background beside the picture's."""
        return self.target == Box(0, 0, self.width, self.height)


def plan_layout(
    width: int, height: int, subject: Box | None, options: RemoveOptions, max_canvas: int = MAX_CANVAS
) -> Layout:
    """The layout of a picture of ``width`` x ``height`` with its subject in ``subject``.

    Order: crop, padding, crop ratio, then the size. The crop's window may leave the frame; only the part of it inside
    is ever worked on, so that a huge window shown small costs nothing.

    Raises:
        InvalidOption: the canvas would exceed both the picture and ``max_canvas`` pixels.
    """
    frame = Box(0, 0, width, height)
    window = _crop(subject, options) if options.crop and subject is not None else frame
    if options.fit == "cover" and options.width and options.height:
        window = _cover(window, subject, options.width, options.height)
        canvas = content = options.width, options.height
    else:
        canvas, content = _sizes(window, options)
    if canvas[0] * canvas[1] > max(max_canvas, width * height):
        raise InvalidOption(
            enlarging_option(options), f"a value that keeps the output within {max_canvas / 1e6:g} megapixels"
        )
    if subject is not None and (options.scale is not None or options.position is not None):
        return _stand(subject, content[0] / window.width, canvas, options)
    placed = Box((canvas[0] - content[0]) // 2, (canvas[1] - content[1]) // 2, *content)
    return _visible(window, frame, placed, canvas)


def _stand(subject: Box, shown: float, canvas: tuple[int, int], options: RemoveOptions) -> Layout:
    """The subject alone, scaled to its share of the canvas (or as large as it is ``shown``), at its position."""
    across, down = canvas[0] / subject.width, canvas[1] / subject.height
    factor = min(
        shown if options.scale is None else math.inf, *(each * (options.scale or 1.0) for each in (across, down))
    )
    wide = min(canvas[0], max(1, round(subject.width * factor)))
    high = min(canvas[1], max(1, round(subject.height * factor)))
    right, low = options.position or (0.5, 0.5)
    target = Box(round((canvas[0] - wide) * right), round((canvas[1] - high) * low), wide, high)
    return Layout(subject, target, *canvas)


def _crop(subject: Box, options: RemoveOptions) -> Box:
    """The subject with its padding, grown to the ratio around its centre."""
    window = _pad(subject, options.padding) if options.padding else subject
    if options.crop_ratio is None:
        return window
    across, down = options.crop_ratio
    wide = max(window.width, math.ceil(window.height * across / down))
    high = max(window.height, math.ceil(window.width * down / across))
    return Box(window.left - (wide - window.width) // 2, window.top - (high - window.height) // 2, wide, high)


def _pad(subject: Box, padding: Padding) -> Box:
    left, right = padding.left.pixels(subject.width), padding.right.pixels(subject.width)
    top, bottom = padding.top.pixels(subject.height), padding.bottom.pixels(subject.height)
    return Box(subject.left - left, subject.top - top, subject.width + left + right, subject.height + top + bottom)


def _cover(window: Box, subject: Box | None, width: int, height: int) -> Box:
    """The largest part of the window with the canvas's ratio, as near to the subject's centre as the window lets it."""
    wide = min(window.width, max(1, round(window.height * width / height)))
    high = min(window.height, max(1, round(window.width * height / width)))
    around = subject or window
    left = around.left + (around.width - wide) // 2
    top = around.top + (around.height - high) // 2
    left = min(max(left, window.left), window.right - wide)
    top = min(max(top, window.top), window.bottom - high)
    return Box(left, top, wide, high)


def _sizes(window: Box, options: RemoveOptions) -> tuple[tuple[int, int], tuple[int, int]]:
    """(canvas, content): the output's size and that of the window on it."""
    wide, high = window.width, window.height
    if options.width is None and options.height is None:
        content = _capped(wide, high, options)
        return content, content
    scale = min(
        options.width / wide if options.width else math.inf,
        options.height / high if options.height else math.inf,
    )
    if options.fit == "scale-down":
        scale = min(scale, 1.0)
    content = max(1, round(wide * scale)), max(1, round(high * scale))
    if options.width and options.height:
        return (options.width, options.height), (min(content[0], options.width), min(content[1], options.height))
    return content, content


def _capped(wide: int, high: int, options: RemoveOptions) -> tuple[int, int]:
    """Within max_side and max_pixels, never larger."""
    scale = min(1.0, (options.max_side or math.inf) / max(wide, high))
    if options.max_pixels is not None:
        scale = min(scale, math.sqrt(options.max_pixels / (wide * high)))
    new_wide, new_high = max(1, round(wide * scale)), max(1, round(high * scale))
    if options.max_pixels is not None and new_wide * new_high > options.max_pixels:  # both were rounded up
        if new_wide >= new_high:
            new_wide = max(1, options.max_pixels // new_high)
        else:
            new_high = max(1, options.max_pixels // new_wide)
    return new_wide, new_high


def _visible(window: Box, frame: Box, placed: Box, canvas: tuple[int, int]) -> Layout:
    """Cut the window to the frame, and its place on the canvas with it; at least one pixel of each remains."""
    left, right, at, to = _axis(window.left, window.right, frame.right, placed.left, placed.right)
    top, bottom, down, up = _axis(window.top, window.bottom, frame.bottom, placed.top, placed.bottom)
    return Layout(
        source=Box(left, top, right - left, bottom - top),
        target=Box(at, down, to - at, up - down),
        width=canvas[0],
        height=canvas[1],
    )


def _axis(start: int, stop: int, extent: int, place: int, place_end: int) -> tuple[int, int, int, int]:
    scale = (place_end - place) / (stop - start)
    first, last = max(start, 0), min(stop, extent)
    low = place + round((first - start) * scale)
    high = place + round((last - start) * scale)
    low = min(low, place_end - 1)
    return first, last, low, max(high, low + 1)


def enlarging_option(options: RemoveOptions) -> str:
    """Return the option that makes a canvas larger than its image."""
    if options.width is not None:
        return "width"
    if options.height is not None:
        return "height"
    return "padding" if options.padding is not None else "crop"


def crop_pixels(pixels: U8, box: Box) -> U8:
    """The part of ``pixels`` in the box; a view."""
    return pixels[box.top : box.bottom, box.left : box.right]


def place(pixels: U8, layout: Layout, ground: tuple[int, ...]) -> U8:
    """``pixels`` on the canvas, with ``ground`` around them; no copy when they fill it."""
    if layout.fills:
        return np.ascontiguousarray(pixels)
    canvas = np.zeros((layout.height, layout.width, len(ground)), np.uint8)
    if any(ground):
        canvas[:] = ground
    target = layout.target
    canvas[target.top : target.bottom, target.left : target.right] = pixels
    return canvas
