"""The second pass: the network runs again on the region around a small subject, and sees more detail of it.

The network reduces every image to one square, so a subject that covers a small part of the frame has few pixels there.
The first matte shows where the subject is. If it is empty and the background is plain, the colors show it.
The rules and constants come from held-out photos and composites; see ``models/training/HISTORY.md``.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from clearcut.imaging.types import F32, Box, DecodedImage, RawMatte

from .grid import sample_grid
from .plain.cells import find_small_subject
from .refine import has_subject

_SUBJECT = 0.5
"""Lowest value of the matte that counts as subject."""
_MIN_PIECE = 0.02
"""Minimum area of a piece of the subject, as a share of the largest piece. The region ignores smaller pieces."""
_MARGIN = 0.25
"""Margin on each side of the region, as a share of the subject's width or height."""
_EXTRA = 2
"""Constant margin added on each side, in cells of the search."""
_CELL = 2
"""Values along the side of a cell of the search. It takes a quarter of the time of a search of all values."""
_MIN_SIDE = 16
"""Minimum width and height of a region, pixels."""
_AGREEMENT = 0.6
"""Minimum IoU of both mattes inside the region. Below it, the first matte is used."""
_MAX_VALUES = 1024
"""Maximum side of the joined matte, in values."""
_BLEND = 0.06
"""Width of the transition between both mattes along the border of the region, as a share of the region's side."""


def second_pass_region(raw: RawMatte, image: DecodedImage, max_share: float, *, by_color: bool = True) -> Box | None:
    """Return the region of the image for the second pass, in pixels, or None if the subject is absent or too large.

    Args:
        raw: the matte of the whole image.
        max_share: maximum area of the region, as a share of the image.
        by_color: if the matte is empty and the background is plain, search for colors that differ from it.
    """
    if not has_subject(raw.values):
        return _region_by_color(image, max_share) if by_color else None
    subject = _cells(raw.values)
    rows, columns = subject.shape
    if not subject.any():
        return None
    _, _, pieces, _ = cv2.connectedComponentsWithStats(subject, connectivity=8)
    areas = pieces[1:, cv2.CC_STAT_AREA]
    pieces = pieces[1:][areas >= _MIN_PIECE * areas.max()]
    left, right = _with_margin(pieces[:, cv2.CC_STAT_LEFT], pieces[:, cv2.CC_STAT_WIDTH], columns)
    top, bottom = _with_margin(pieces[:, cv2.CC_STAT_TOP], pieces[:, cv2.CC_STAT_HEIGHT], rows)
    if (right - left) * (bottom - top) > max_share * rows * columns:
        return None
    left, right = left * image.width // columns, -(-right * image.width // columns)
    top, bottom = top * image.height // rows, -(-bottom * image.height // rows)
    if min(right - left, bottom - top) < _MIN_SIDE:
        return None
    return Box(left, top, right - left, bottom - top)


def _region_by_color(image: DecodedImage, max_share: float) -> Box | None:
    """Return the region of a subject that the network has missed because it is small, if the background is plain."""
    area = None if image.alpha is not None else find_small_subject(image.rgb)
    if area is None:
        return None
    region = Box(area.left, area.top, area.right - area.left, area.bottom - area.top)
    is_small = region.width * region.height <= max_share * image.width * image.height
    return region if is_small and min(region.width, region.height) >= _MIN_SIDE else None


def crop(image: DecodedImage, region: Box) -> DecodedImage:
    """Return a region of the image. Its arrays are views, so they are not contiguous."""
    area = slice(region.top, region.bottom), slice(region.left, region.right)
    return DecodedImage(image.rgb[area], None if image.alpha is None else image.alpha[area])


def join_mattes(first: RawMatte, second: RawMatte, region: Box, image: DecodedImage) -> RawMatte:
    """Combine the mattes of both passes: the second one inside the region, the first one outside.

    Near a border of the region that is not a border of the image, the values change gradually from one to the other.

    Args:
        first: matte of the whole image.
        second: matte of the pixels in ``region``.

    Returns:
        ``first`` if it has a subject and both mattes disagree inside the region. Otherwise f32[h,w] in which the region
        has about as many values as ``second``. A side has at most 1,024 values, and at most max(pixels of the image,
        values of a run).
    """
    found = has_subject(first.values)
    if found and _agreement(_sample(first.values, region, image), second.values) < _AGREEMENT:
        return first
    rows, columns = second.values.shape
    x = _Axis(region.left, region.width, image.width, columns)
    y = _Axis(region.top, region.height, image.height, rows)
    joined = np.asarray(cv2.resize(first.values, (x.joined, y.joined), interpolation=cv2.INTER_LINEAR), np.float32)
    # Without a reduction, linear interpolation would skip values.
    size = min(columns, x.end - x.start), min(rows, y.end - y.start)
    values = np.asarray(cv2.resize(second.values, size, interpolation=cv2.INTER_AREA), np.float32)
    fine = sample_grid(values, x.sampling(size[0]), y.sampling(size[1]), y.end - y.start, x.end - x.start)
    area = joined[y.start : y.end, x.start : x.end]
    area += (fine - area) * (y.weight()[:, None] * x.weight()[None, :])
    return RawMatte(joined)


class _Axis:
    """One axis of the joined matte, and the place of the region on it.

    Args:
        first: first pixel of the region.
        length: pixels of the region.
        size: pixels of the image.
        values: values of one run.
    """

    def __init__(self, first: int, length: int, size: int, values: int) -> None:
        self._first, self._length, self._size = first, length, size
        self.joined = min(round(values * size / length), _MAX_VALUES, max(values, size))
        """Values of the joined matte."""
        self.start, self.end = (round(each * self.joined / size) for each in (first, first + length))
        """Values of the joined matte that are in the region."""

    def sampling(self, values: int) -> tuple[float, float]:
        """Return scale and offset from the joined matte in the region to a matte with ``values`` values."""
        pixels_per_value, values_per_pixel = self._size / self.joined, values / self._length
        center = (self.start + 0.5) * pixels_per_value - self._first
        return pixels_per_value * values_per_pixel, center * values_per_pixel - 0.5

    def weight(self) -> F32:
        """Return the weight of the second matte, f32[end - start]: 1, and less near an inner border."""
        count = self.end - self.start
        ramp = (np.arange(count, dtype=np.float32) + 1) / max(1.0, _BLEND * count)
        weight = np.ones(count, np.float32)
        if self._first > 0:
            weight = np.minimum(weight, ramp)
        if self._first + self._length < self._size:
            weight = np.minimum(weight, ramp[::-1])
        return weight


def _cells(values: F32) -> NDArray[np.uint8]:
    """Return for each cell of 2 x 2 values whether one of them is subject, u8[h,w] of 0 and 1."""
    subject = (values > _SUBJECT).view(np.uint8)
    rows, columns = (side // _CELL * _CELL for side in subject.shape)
    blocks = subject[:rows:2, :columns:2] | subject[1:rows:2, :columns:2]
    return blocks | subject[:rows:2, 1:columns:2] | subject[1:rows:2, 1:columns:2]


def _with_margin(starts: NDArray[np.int32], lengths: NDArray[np.int32], size: int) -> tuple[int, int]:
    """Return the range of the subject's pieces along one axis with its margin, limited to the frame."""
    start, end = int(starts.min()), int((starts + lengths).max())
    margin = (end - start) * _MARGIN + _EXTRA
    return max(0, math.floor(start - margin)), min(size, math.ceil(end + margin))


def _sample(values: F32, region: Box, image: DecodedImage) -> F32:
    """Return the values of a matte of the whole image in a region, at the size of the matte."""
    rows, columns = values.shape
    scale_x, scale_y = region.width / image.width, region.height / image.height
    offset_x = region.left * columns / image.width + scale_x / 2 - 0.5
    offset_y = region.top * rows / image.height + scale_y / 2 - 0.5
    return sample_grid(values, (scale_x, offset_x), (scale_y, offset_y), rows, columns)


def _agreement(first: F32, second: F32) -> float:
    """Return the IoU of two mattes of the same size."""
    a, b = first > _SUBJECT, second > _SUBJECT
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 0.0
