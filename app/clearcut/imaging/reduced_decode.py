"""Decoding at reduced size: which inputs allow it, and how results map back to the full image.

A JPEG decoder produces a half, a quarter or an eighth of the size from the low frequencies of each block. That is
faster than a full decode and makes every later step cheaper: a preview of 10 megapixels costs a fifth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .formats.registry import READERS
from .layout import plan_layout
from .options import RemoveOptions
from .types import Box, ImageHeader


def decode_reduction(header: ImageHeader, variants: Sequence[RemoveOptions], side: int) -> int:
    """Return the factor by which the decoder may reduce the image: 1, or one of the reader's ``reductions``.

    The reduced image is never smaller than an output or than ``side``, the model's input in pixels. The factor is 1 if
    an option refers to pixels of the original, or crops to the subject, which may need the full size.
    """
    reductions = READERS[header.format].reductions
    if not reductions:
        return 1
    width, height = header.upright_size
    least_width = least_height = side
    for options in variants:
        if not _only_limits_size(options):
            return 1
        layout = plan_layout(width, height, None, options)
        least_width, least_height = max(least_width, layout.width), max(least_height, layout.height)
    allowed = (each for each in reductions if width // each >= least_width and height // each >= least_height)
    return next(allowed, 1)


def pin_output_size(options: RemoveOptions, header: ImageHeader) -> RemoveOptions:
    """Replace size limits by the exact output size of the full image, so that a reduced image gives the same size."""
    layout = plan_layout(*header.upright_size, None, options)
    return replace(options, width=layout.width, height=layout.height, fit="cover", max_side=None, max_pixels=None)


def scale_box_up(box: Box | None, reduction: int, header: ImageHeader) -> Box | None:
    """Convert a box of an image reduced by ``reduction`` to pixels of the full image."""
    if box is None or reduction == 1:
        return box
    width, height = header.upright_size
    left, top = box.left * reduction, box.top * reduction
    return Box(left, top, min(box.right * reduction, width) - left, min(box.bottom * reduction, height) - top)


def _only_limits_size(options: RemoveOptions) -> bool:
    """Return whether the output is the whole frame within ``max_side`` or ``max_pixels``."""
    if options.max_side is None and options.max_pixels is None:
        return False
    placement = options.crop, options.width, options.height, options.scale, options.position, options.roi
    return all(each is None or each is False for each in placement)
