"""Which pictures need not be decoded in full: JPEGs that are only asked for small.

A JPEG decoder makes a half, a quarter or an eighth of the picture from the low frequencies of each block alone, in
less time than the whole and with every step behind it smaller: a preview of ten megapixels costs a fifth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .formats.registry import READERS
from .layout import plan_layout
from .options import RemoveOptions
from .types import Box, ImageHeader


def decode_reduction(header: ImageHeader, variants: Sequence[RemoveOptions], side: int) -> int:
    """8, 4, 2 or 1: how many times smaller the picture may be decoded.

    Never smaller than any output or than the network's ``side``. 1 where an option speaks of the picture's own pixels
    or cuts the subject out of it, since then the part that is shown may be needed at its full size.
    """
    reductions = READERS[header.format].reductions
    if not reductions:
        return 1
    width, height = header.upright_size
    needed = [side, side]
    for options in variants:
        if not _only_capped(options):
            return 1
        shown = plan_layout(width, height, None, options)
        needed = [max(needed[0], shown.width), max(needed[1], shown.height)]
    return next((by for by in reductions if width // by >= needed[0] and height // by >= needed[1]), 1)


def pin_output_size(options: RemoveOptions, header: ImageHeader) -> RemoveOptions:
    """``options`` with the size that they give the whole picture, so that a reduced one gets it to the pixel."""
    shown = plan_layout(*header.upright_size, None, options)
    return replace(options, width=shown.width, height=shown.height, fit="cover", max_side=None, max_pixels=None)


def scale_box_up(box: Box | None, by: int, header: ImageHeader) -> Box | None:
    """A box of a picture reduced ``by`` in the pixels of the whole one."""
    if box is None or by == 1:
        return box
    width, height = header.upright_size
    left, top = box.left * by, box.top * by
    return Box(left, top, min(box.right * by, width) - left, min(box.bottom * by, height) - top)


def _only_capped(options: RemoveOptions) -> bool:
    """Whether the output is the whole frame within a longest side or an area."""
    if options.max_side is None and options.max_pixels is None:
        return False
    given = options.crop, options.width, options.height, options.scale, options.position, options.roi
    return not any(each is not None and each is not False for each in given)
