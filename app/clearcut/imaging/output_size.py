"""Number of output pixels of a request, for limits and budgets: an estimate from headers, then the exact number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clearcut.errors import InvalidOption

from .formats.registry import WRITERS
from .layout import MAX_CANVAS_PIXELS, enlarging_option, plan_layout
from .options import RemoveOptions
from .types import Box, ImageHeader

WORK_FACTOR = 4
"""Limit of the work for several outputs, in images of the maximum size."""
_READ_FACTORS = {"blur": 3, "overlay": 3}
"""Cost of a small output with this backdrop, relative to one without (``benchmarks/hostile_options.py``)."""


def expected_pixels(
    headers: Mapping[str, ImageHeader], variants: Sequence[RemoveOptions], max_pixels: int, reduction: int
) -> int:
    """Sum the output pixels before the subject is known: exact unless an option crops to the subject.

    Args:
        headers: of the request's files, by role: ``image``, ``background``, ``mask``.
        max_pixels: of the largest accepted image; a canvas is limited to this number and to ``MAX_CANVAS_PIXELS``.
        reduction: factor by which the decoder reduces the image.

    Raises:
        InvalidOption: one output, or all together, would be too large for any subject.
    """
    width, height = headers["image"].upright_size
    pixels = [_estimate(width, height, each, max_pixels) for each in variants]
    return _checked_sum(pixels, headers, variants, max_pixels, reduction)


def known_pixels(header: ImageHeader, variants: Sequence[RemoveOptions], max_pixels: int) -> int:
    """Sum the pixels of the outputs that have the same size for any subject."""
    known = [each for each in variants if not each.crop or (each.width and each.height)]
    return sum(_exact(*header.upright_size, None, each, max_pixels) for each in known)


def output_pixels(
    headers: Mapping[str, ImageHeader],
    variants: Sequence[RemoveOptions],
    boxes: Sequence[Box | None],
    max_pixels: int,
    reduction: int,
) -> int:
    """Sum the output pixels for known subjects: ``boxes`` has the box of each variant. Else as ``expected_pixels``."""
    width, height = headers["image"].upright_size
    pixels = [_exact(width, height, box, each, max_pixels) for box, each in zip(boxes, variants, strict=True)]
    return _checked_sum(pixels, headers, variants, max_pixels, reduction)


def encoder_pixels(variants: Sequence[RemoveOptions], pixels: int) -> int:
    """Return the additional pixels to reserve for the encoder that needs the most memory. Encoders run in turn.

    Args:
        pixels: sum of the output pixels.
    """
    writers = [WRITERS[each.format] for each in variants if each.format in WRITERS]
    return max(
        (round((each.memory_factor - 1) * min(pixels, each.max_pixels or pixels)) for each in writers), default=0
    )


def _exact(width: int, height: int, subject: Box | None, options: RemoveOptions, max_pixels: int) -> int:
    layout = plan_layout(width, height, subject, options, min(MAX_CANVAS_PIXELS, max_pixels))
    return layout.width * layout.height


def _estimate(width: int, height: int, options: RemoveOptions, max_pixels: int) -> int:
    if not options.crop or (options.width and options.height):
        return _exact(width, height, None, options, max_pixels)
    pixels = width * height
    factor = 4 if options.padding or options.crop_ratio else 1
    if options.width:
        pixels = options.width * max(1, options.width * height // width)
    elif options.height:
        pixels = options.height * max(1, options.height * width // height)
    else:
        pixels = min(pixels, (options.max_side or width + height) ** 2, options.max_pixels or pixels)
    return min(factor * pixels, max(min(MAX_CANVAS_PIXELS, max_pixels), width * height))


def _checked_sum(
    pixels: Sequence[int],
    headers: Mapping[str, ImageHeader],
    variants: Sequence[RemoveOptions],
    max_pixels: int,
    reduction: int,
) -> int:
    """Return the sum of ``pixels``, one number for each variant, after checking two limits.

    The first limit is on the sum. The second is on the work for several outputs: each output reads the decoded image
    and its background, so each counts as at least their pixels, and three times as many with a computed backdrop.
    """
    total = sum(pixels)
    option = "variants" if len(variants) > 1 else enlarging_option(variants[0])
    if total > 2 * max_pixels:
        raise InvalidOption(
            option, f"outputs of at most {2 * max_pixels / 1e6:g} megapixels together; these are {total / 1e6:.1f}"
        )
    if len(variants) > 1:
        read = headers["image"].pixels // reduction**2
        read += headers["background"].pixels if "background" in headers else 0
        factors = [_READ_FACTORS.get(each.backdrop, 1) for each in variants]
        work = sum(max(own, factor * read) for own, factor in zip(pixels, factors, strict=True))
        if work > WORK_FACTOR * max_pixels:
            raise InvalidOption(
                option,
                f"fewer outputs: each counts at least as much as the image, three times with blur or overlay, and "
                f"{WORK_FACTOR * max_pixels / 1e6:g} megapixels are allowed; these are {work / 1e6:.1f}",
            )
    return total
