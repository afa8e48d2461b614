"""The second pass: the network runs again on the part of the image around a small subject, and sees more detail of it.

The network reduces every image to one square, so a subject that covers a small part of the frame has few pixels there.
The rules and constants come from held-out photos and composites; see ``models/training/HISTORY.md``.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from clearcut.imaging.types import F32, Box, DecodedImage, RawMatte

_SUBJECT = 0.5
"""Lowest value of the matte that counts as subject."""
_PART = 0.02
"""Smallest area of a separate part of the subject, as a share of the largest part. The box ignores smaller parts."""
_MARGIN = 0.25
"""Space around the subject on each side, as a share of the subject's size along this axis."""
_STRIDE = 2
"""The search for the box reads every second value along both axes, which takes a quarter of the time."""
_EXTRA = 2
"""Space around the subject on each side in addition, in values that the search reads."""
_MIN_SIDE = 16
"""Smallest width and height of a part of the image that is worth a second pass, pixels."""
_AGREEMENT = 0.6
"""Smallest IoU of both mattes. Below it the second pass has found something else, and the first matte is used."""
_MAX_VALUES = 1024
"""Largest side of the joined matte, in values."""


def second_pass_box(raw: RawMatte, image: DecodedImage, max_share: float) -> Box | None:
    """Return the part of the image for the second pass, in pixels, or None if a second pass would show no more detail.

    Args:
        raw: the matte of the whole image.
        max_share: largest share of the frame that the part may have.
    """
    subject = (raw.values[::_STRIDE, ::_STRIDE] > _SUBJECT).view(np.uint8)
    rows, columns = subject.shape
    if not subject.any():
        return None
    _, _, parts, _ = cv2.connectedComponentsWithStats(subject, connectivity=8)
    areas = parts[1:, cv2.CC_STAT_AREA]
    parts = parts[1:][areas >= _PART * areas.max()]
    left, right = _with_margin(parts[:, cv2.CC_STAT_LEFT], parts[:, cv2.CC_STAT_WIDTH], columns)
    top, bottom = _with_margin(parts[:, cv2.CC_STAT_TOP], parts[:, cv2.CC_STAT_HEIGHT], rows)
    if (right - left) * (bottom - top) > max_share * rows * columns:
        return None
    left, right = left * image.width // columns, -(-right * image.width // columns)
    top, bottom = top * image.height // rows, -(-bottom * image.height // rows)
    if min(right - left, bottom - top) < _MIN_SIDE:
        return None
    return Box(left, top, right - left, bottom - top)


def crop(image: DecodedImage, box: Box) -> DecodedImage:
    """Return a part of the image. Its arrays are views, so they are not contiguous."""
    area = slice(box.top, box.bottom), slice(box.left, box.right)
    return DecodedImage(image.rgb[area], None if image.alpha is None else image.alpha[area])


def join_mattes(whole: RawMatte, part: RawMatte, box: Box, image: DecodedImage) -> RawMatte:
    """Return the matte of the whole image with the detail of the second pass; outside the part it is 0.

    Args:
        whole: matte of the first pass.
        part: matte of the second pass, for the pixels in ``box``.

    Returns:
        ``whole`` if the second pass has found something else. Otherwise f32[h,w] with about as many values in the part
        as the second pass has: at most 1,024 along a side, and no more than the image has pixels or ``part`` has
        values.
    """
    rows, columns = part.values.shape
    width = _joined_values(columns, box.width, image.width)
    height = _joined_values(rows, box.height, image.height)
    if _agreement(_sample(whole.values, box, image), part.values) < _AGREEMENT:
        return whole
    left, right, scale_x, offset_x = _place(box.left, box.width, image.width, columns, width)
    top, bottom, scale_y, offset_y = _place(box.top, box.height, image.height, rows, height)
    joined = np.zeros((height, width), np.float32)
    joined[top:bottom, left:right] = _warp(
        part.values, scale_x, scale_y, offset_x, offset_y, right - left, bottom - top
    )
    return RawMatte(joined)


def _joined_values(values: int, length: int, size: int) -> int:
    """Return the values of the joined matte along an axis: ``values`` in ``length`` of ``size`` pixels, if possible.

    More values than pixels would only take memory, unless one run already has as many.
    """
    return min(round(values * size / length), _MAX_VALUES, max(values, size))


def _place(start: int, length: int, size: int, values: int, joined: int) -> tuple[int, int, float, float]:
    """Return where a part of the image lies along one axis of the joined matte, and how to sample its matte.

    Args:
        start: first pixel of the part.
        length: pixels of the part.
        size: pixels of the image.
        values: values of the part's matte.
        joined: values of the joined matte.

    Returns:
        The first value, the end, and the scale and offset from values of this range to values of the part's matte.
    """
    first, end = round(start * joined / size), round((start + length) * joined / size)
    pixels = size / joined
    per_pixel = values / length
    return first, end, pixels * per_pixel, ((first + 0.5) * pixels - start) * per_pixel - 0.5


def _with_margin(starts: NDArray[np.int32], lengths: NDArray[np.int32], size: int) -> tuple[int, int]:
    """Return the range of the subject's parts along one axis with its margin, limited to the frame."""
    start, end = int(starts.min()), int((starts + lengths).max())
    margin = (end - start) * _MARGIN + _EXTRA
    return max(0, math.floor(start - margin)), min(size, math.ceil(end + margin))


def _sample(values: F32, box: Box, image: DecodedImage) -> F32:
    """Return the values of a matte of the whole image in a box, at the size of the matte."""
    rows, columns = values.shape
    scale_x, scale_y = box.width / image.width, box.height / image.height
    offset_x = (box.left * columns / image.width) + scale_x / 2 - 0.5
    offset_y = (box.top * rows / image.height) + scale_y / 2 - 0.5
    return _warp(values, scale_x, scale_y, offset_x, offset_y, columns, rows)


def _warp(
    values: F32, scale_x: float, scale_y: float, offset_x: float, offset_y: float, width: int, height: int
) -> F32:
    """Return f32[height,width] with linear samples of ``values`` at ``offset + scale * index``."""
    matrix = np.array([[scale_x, 0, offset_x], [0, scale_y, offset_y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(values, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def _agreement(first: F32, second: F32) -> float:
    """Return the IoU of two mattes of the same size."""
    a, b = first > _SUBJECT, second > _SUBJECT
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 0.0
