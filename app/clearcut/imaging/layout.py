"""Layout of an output: which part of the image is shown, at what size, and where on the canvas."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from clearcut.errors import InvalidOption

from .options import Padding, RemoveOptions
from .types import U8, Box

MAX_CANVAS_PIXELS = 50_000_000
"""Maximum pixels of an output that is larger than its image, through padding, a crop ratio or an exact size."""


@dataclass(frozen=True, slots=True)
class Layout:
    """``source``, a part of the image, is scaled onto ``target``, a part of the canvas; the rest is background."""

    source: Box
    target: Box
    width: int
    """Of the canvas, in pixels."""
    height: int

    @property
    def scales(self) -> bool:
        """Whether source and target differ in size."""
        return (self.source.width, self.source.height) != (self.target.width, self.target.height)

    @property
    def fills(self) -> bool:
        """Whether the target covers the whole canvas."""
        return self.target == Box(0, 0, self.width, self.height)


def plan_layout(
    width: int, height: int, subject: Box | None, options: RemoveOptions, max_canvas: int = MAX_CANVAS_PIXELS
) -> Layout:
    """Plan the layout of an image of ``width`` x ``height`` pixels with its subject in the box ``subject``.

    The order is crop, padding, crop ratio, size. The crop window may extend past the frame. Only its part inside the
    frame is processed, so a huge window at a small size is cheap.

    Raises:
        InvalidOption: the canvas would exceed both the image and ``max_canvas`` pixels.
    """
    frame = Box(0, 0, width, height)
    window = _crop_window(subject, options) if options.crop and subject is not None else frame
    if options.fit == "cover" and options.width and options.height:
        window = _cover_window(window, subject, options.width, options.height)
        canvas = content = options.width, options.height
    else:
        canvas, content = _sizes(window, options)
    if canvas[0] * canvas[1] > max(max_canvas, width * height):
        raise InvalidOption(
            enlarging_option(options), f"a value that keeps the output within {max_canvas / 1e6:g} megapixels"
        )
    if subject is not None and (options.scale is not None or options.position is not None):
        return _place_subject(subject, content[0] / window.width, canvas, options)
    target = Box((canvas[0] - content[0]) // 2, (canvas[1] - content[1]) // 2, *content)
    return _clip_to_frame(window, frame, target, canvas)


def enlarging_option(options: RemoveOptions) -> str:
    """Return the option that makes a canvas larger than its image."""
    if options.width is not None:
        return "width"
    if options.height is not None:
        return "height"
    return "padding" if options.padding is not None else "crop"


def crop_pixels(pixels: U8, box: Box) -> U8:
    """Return the part of ``pixels`` in the box, as a view."""
    return pixels[box.top : box.bottom, box.left : box.right]


def place_on_canvas(pixels: U8, layout: Layout, background: tuple[int, ...]) -> U8:
    """Return the canvas with ``pixels`` u8[h,w,C] at the target, and ``background`` around; no copy if they fill it."""
    if layout.fills:
        return np.ascontiguousarray(pixels)
    canvas = np.zeros((layout.height, layout.width, len(background)), np.uint8)
    if any(background):
        canvas[:] = background
    target = layout.target
    canvas[target.top : target.bottom, target.left : target.right] = pixels
    return canvas


def _place_subject(subject: Box, factor: float, canvas: tuple[int, int], options: RemoveOptions) -> Layout:
    """Lay out the subject alone at ``options.position``, at its share of the canvas or else enlarged by ``factor``."""
    limits = (canvas[0] / subject.width, canvas[1] / subject.height)
    factor = min(factor if options.scale is None else math.inf, *(limit * (options.scale or 1.0) for limit in limits))
    width = min(canvas[0], max(1, round(subject.width * factor)))
    height = min(canvas[1], max(1, round(subject.height * factor)))
    across, down = options.position or (0.5, 0.5)
    target = Box(round((canvas[0] - width) * across), round((canvas[1] - height) * down), width, height)
    return Layout(subject, target, *canvas)


def _crop_window(subject: Box, options: RemoveOptions) -> Box:
    """Return the subject's box with its padding, enlarged to the crop ratio around its center."""
    window = _pad(subject, options.padding) if options.padding else subject
    if options.crop_ratio is None:
        return window
    across, down = options.crop_ratio
    width = max(window.width, math.ceil(window.height * across / down))
    height = max(window.height, math.ceil(window.width * down / across))
    return Box(window.left - (width - window.width) // 2, window.top - (height - window.height) // 2, width, height)


def _pad(subject: Box, padding: Padding) -> Box:
    left, right = padding.left.pixels(subject.width), padding.right.pixels(subject.width)
    top, bottom = padding.top.pixels(subject.height), padding.bottom.pixels(subject.height)
    return Box(subject.left - left, subject.top - top, subject.width + left + right, subject.height + top + bottom)


def _cover_window(window: Box, subject: Box | None, width: int, height: int) -> Box:
    """Return the largest part of the window with the canvas's ratio, as close to the subject's center as possible."""
    new_width = min(window.width, max(1, round(window.height * width / height)))
    new_height = min(window.height, max(1, round(window.width * height / width)))
    focus = subject or window
    left = focus.left + (focus.width - new_width) // 2
    top = focus.top + (focus.height - new_height) // 2
    left = min(max(left, window.left), window.right - new_width)
    top = min(max(top, window.top), window.bottom - new_height)
    return Box(left, top, new_width, new_height)


def _sizes(window: Box, options: RemoveOptions) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (canvas, content): the size of the output and the size of the window on it."""
    width, height = window.width, window.height
    if options.width is None and options.height is None:
        content = _limited_size(width, height, options)
        return content, content
    scale = min(
        options.width / width if options.width else math.inf,
        options.height / height if options.height else math.inf,
    )
    if options.fit == "scale-down":
        scale = min(scale, 1.0)
    content = max(1, round(width * scale)), max(1, round(height * scale))
    if options.width and options.height:
        return (options.width, options.height), (min(content[0], options.width), min(content[1], options.height))
    return content, content


def _limited_size(width: int, height: int, options: RemoveOptions) -> tuple[int, int]:
    """Return the size reduced to ``max_side`` and ``max_pixels``; never enlarges."""
    scale = min(1.0, (options.max_side or math.inf) / max(width, height))
    if options.max_pixels is not None:
        scale = min(scale, math.sqrt(options.max_pixels / (width * height)))
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    if options.max_pixels is not None and new_width * new_height > options.max_pixels:  # both were rounded up
        if new_width >= new_height:
            new_width = max(1, options.max_pixels // new_height)
        else:
            new_height = max(1, options.max_pixels // new_width)
    return new_width, new_height


def _clip_to_frame(window: Box, frame: Box, target: Box, canvas: tuple[int, int]) -> Layout:
    """Clip the window to the frame, and its target accordingly; at least one pixel of each remains."""
    left, right, target_left, target_right = _clip_axis(
        window.left, window.right, frame.right, target.left, target.right
    )
    top, bottom, target_top, target_bottom = _clip_axis(
        window.top, window.bottom, frame.bottom, target.top, target.bottom
    )
    return Layout(
        source=Box(left, top, right - left, bottom - top),
        target=Box(target_left, target_top, target_right - target_left, target_bottom - target_top),
        width=canvas[0],
        height=canvas[1],
    )


def _clip_axis(start: int, stop: int, extent: int, target_start: int, target_stop: int) -> tuple[int, int, int, int]:
    """Clip start..stop to 0..extent, and return it with the matching part of the target range."""
    scale = (target_stop - target_start) / (stop - start)
    first, last = max(start, 0), min(stop, extent)
    low = target_start + round((first - start) * scale)
    high = target_start + round((last - start) * scale)
    low = min(low, target_stop - 1)
    return first, last, low, max(high, low + 1)
