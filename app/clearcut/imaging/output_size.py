"""Pixels of all outputs of a request, for limits and budgets: estimated from headers, then exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clearcut.errors import InvalidOption

from .layout import MAX_CANVAS, enlarging_option, plan_layout
from .options import RemoveOptions
from .types import Box, ImageHeader

WORK_FACTOR = 4
"""Limit of the work for several outputs, in largest images."""
_PASSES = {"blur": 3, "overlay": 3}
"""Cost of a small output with this backdrop in that of one without (``benchmarks/hostile_options.py``)."""


def expected_pixels(
    headers: Mapping[str, ImageHeader], variants: Sequence[RemoveOptions], max_pixels: int, reduced: int
) -> int:
    """The sum of the outputs' pixels before the subject is known: exact unless the options crop to it.

    Args:
        headers: of the request's files, by role: ``image``, ``background``, ``mask``.
        max_pixels: of the largest image accepted; a canvas is limited to as many, and to ``MAX_CANVAS``.
        reduced: how many times smaller the image is decoded.

    Raises:
        InvalidOption: one of the outputs, or all together, would be too large for any subject.
    """
    width, height = headers["image"].upright_size
    return _checked(
        [_expected(width, height, each, max_pixels) for each in variants], headers, variants, max_pixels, reduced
    )


def known_pixels(header: ImageHeader, variants: Sequence[RemoveOptions], max_pixels: int) -> int:
    """The sum of the pixels of those outputs whose size the subject does not decide."""
    known = [each for each in variants if not each.crop or (each.width and each.height)]
    return sum(_exact(*header.upright_size, None, each, max_pixels) for each in known)


def output_pixels(
    headers: Mapping[str, ImageHeader],
    variants: Sequence[RemoveOptions],
    boxes: Sequence[Box | None],
    max_pixels: int,
    reduced: int,
) -> int:
    """The sum of the outputs' pixels with the subject of each variant in its box. Otherwise as ``expected_pixels``."""
    width, height = headers["image"].upright_size
    pixels = [_exact(width, height, box, each, max_pixels) for box, each in zip(boxes, variants, strict=True)]
    return _checked(pixels, headers, variants, max_pixels, reduced)


def _exact(width: int, height: int, subject: Box | None, options: RemoveOptions, max_pixels: int) -> int:
    layout = plan_layout(width, height, subject, options, min(MAX_CANVAS, max_pixels))
    return layout.width * layout.height


def _expected(width: int, height: int, options: RemoveOptions, max_pixels: int) -> int:
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
    return min(factor * pixels, max(min(MAX_CANVAS, max_pixels), width * height))


def _checked(
    pixels: Sequence[int],
    headers: Mapping[str, ImageHeader],
    variants: Sequence[RemoveOptions],
    max_pixels: int,
    reduced: int,
) -> int:
    """The sum of ``pixels``, one number for each variant.

    Besides the outputs' own limit there is one for the work: each of several variants counts there at least as much as
    the decoded image and its background, and three times as much with a drawn backdrop, because all of the image is
    read for each output.
    """
    made = sum(pixels)
    option = "variants" if len(variants) > 1 else enlarging_option(variants[0])
    if made > 2 * max_pixels:
        raise InvalidOption(
            option, f"outputs of at most {2 * max_pixels / 1e6:g} megapixels together; these are {made / 1e6:.1f}"
        )
    if len(variants) > 1:
        read = headers["image"].pixels // reduced**2
        read += headers["background"].pixels if "background" in headers else 0
        passes = [_PASSES.get(each.backdrop, 1) for each in variants]
        counted = sum(max(own, times * read) for own, times in zip(pixels, passes, strict=True))
        if counted > WORK_FACTOR * max_pixels:
            raise InvalidOption(
                option,
                f"fewer outputs: each counts at least as much as the image, three times with blur or overlay, and "
                f"{WORK_FACTOR * max_pixels / 1e6:g} megapixels are allowed; these are {counted / 1e6:.1f}",
            )
    return made
