"""The cells of an image with a plain background: of the whole image, or of the area around a small subject.

The rules of ``regions`` count in cells, and fit subjects that cover most of the grid. A small subject would lose pale
parts, so a second grid has smaller cells around it. A subject with many gaps, such as a chain, keeps the large cells:
the blurred matte of the network would fill the gaps between small cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from clearcut.imaging.matting.edge_band import Mask, Span
from clearcut.imaging.matting.grid import sample_area_at_cells, sample_at_cells
from clearcut.imaging.types import F32, U8

from .background_field import ColorField, border_field
from .color_masks import largest_channel
from .comparison import Comparison, compare
from .regions import subject_part

_CELLS = 220
"""Cells along the longer side of the grid, about."""
_SHORT_SIDE = 6
"""Minimum cells along the shorter side, if the image has enough pixels."""
_CELL_SAMPLES = 2
"""Pixels along the side of a cell that are read, at most."""
_MAX_SIDE = 0.5
"""Maximum longer side of the area around a small subject, as a share of the image's."""
_CLEAR_FACTOR = 2.0
"""A cell counts as subject above this multiple of ``Comparison.level``. Noise, and gradients that the field does not
explain, differ less."""
_SPECK_CELLS, _SPECK_SHARE = 4, 0.02
"""Maximum cells of a speck, and its maximum share of the subject's cells. The area ignores specks, such as dust."""
_MAX_GAPS = 0.25
"""Maximum share of samples with the background's color in a small subject after closing its gaps."""
_GAP_FACTOR, _LEAST_GAP_LEVEL = 1.5, 6.0
"""Such samples differ by less than this multiple of ``Comparison.level``, or by less than this many levels."""
_MIN_AREA = 5e-4
"""Minimum cells of a subject that only its colors show, as a share of all cells. Dust has fewer."""
_MARGIN = 0.25
"""Margin of the area on each side, as a share of the subject's longer side."""
_EXTRA = 2
"""Cells added to the margin."""
_WINDOW3 = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class PlainGrid:
    area: Span
    """The pixels that the grid covers; its last cells may extend past them."""
    step: int
    """Side of a cell in pixels."""
    samples: U8
    """Pixels of the cells, one or 2 x 2 of each: u8[n*h,n*w,3]."""
    frame: tuple[int, int]
    """Rows and columns of cells that the whole image has."""
    net: F32
    """The network's matte, f32[h,w] in 0..1."""
    compared: Comparison


def read_grid(values: F32, rgb: U8, field: ColorField) -> PlainGrid | None:
    """Return the grid of the area around a small subject, else of the whole image; None if it cannot be divided.

    Args:
        values: the network's matte of the whole image, f32[h,w] in 0..1.
        rgb: the image, u8[H,W,3].
        field: the background of the whole image.
    """
    grid = _read(values, rgb, field, _whole(rgb))
    part = None if grid is None else _small_part(grid)
    if grid is None or part is None or _has_gaps(grid, part):
        return grid
    area = part.scaled(grid.step, *rgb.shape[:2])
    return _read(values, rgb, grid.compared.field.within(area, *rgb.shape[:2]), area)


def find_small_subject(rgb: U8) -> Span | None:
    """Return the pixels around a small subject on a plain background, by its colors; None if there is none.

    Args:
        rgb: the image, u8[H,W,3].
    """
    field = border_field(rgb)
    grid = None if field is None else _read(np.zeros((1, 1), np.float32), rgb, field, _whole(rgb))
    part = None if grid is None else _small_part(grid)
    if grid is None or part is None or np.count_nonzero(_clear(grid)[part.area]) < _MIN_AREA * grid.net.size:
        return None
    return part.scaled(grid.step, *rgb.shape[:2])


def _whole(rgb: U8) -> Span:
    return Span(0, rgb.shape[0], 0, rgb.shape[1])


def _read(values: F32, rgb: U8, field: ColorField, area: Span) -> PlainGrid | None:
    pixels = rgb[area.area]
    height, width = pixels.shape[:2]
    step = _step(height, width)
    if min(height, width) <= step:
        return None  # a grid of a single row or column has no cells on both sides of an edge
    samples, cells = _read_cells(pixels, step)
    compared = compare(cells, field, step)
    if compared is None:
        return None
    if pixels.shape == rgb.shape:
        net = sample_at_cells(values, step, height, width, sharp=False)
    else:
        net = sample_area_at_cells(values, area, step, *rgb.shape[:2])
    frame = -(-rgb.shape[0] // step), -(-rgb.shape[1] // step)
    return PlainGrid(area, step, samples, frame, net, compared)


def _step(height: int, width: int) -> int:
    return max(1, min(round(max(height, width) / _CELLS), min(height, width) // _SHORT_SIDE))


def _clear(grid: PlainGrid) -> Mask:
    """Return the cells that differ clearly from the background."""
    return np.asarray(grid.compared.distance >= _CLEAR_FACTOR * grid.compared.level)


def _small_part(grid: PlainGrid) -> Span | None:
    """Return the cells of a small subject with a margin, or None if the subject is not small."""
    shape = grid.net.shape
    max_side = _MAX_SIDE * max(shape)
    clear = _clear(grid)
    part = _with_margin(subject_part(~clear, grid.net), shape)
    if _longer_side(part) > max_side and np.count_nonzero(clear) < max_side**2:
        part = _with_margin(subject_part(~_without_specks(clear), grid.net), shape)
    step = _step(*((end - start) * grid.step for start, end in (part[:2], part[2:])))
    return part if 0 < _longer_side(part) <= max_side and step < grid.step else None


def _with_margin(part: Span, shape: tuple[int, ...]) -> Span:
    size = _longer_side(part)
    return part.grown(round(_MARGIN * size) + _EXTRA, *shape) if size else part


def _longer_side(part: Span) -> int:
    return max(part.bottom - part.top, part.right - part.left)


def _without_specks(clear: Mask) -> Mask:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(clear.view(np.uint8), connectivity=8)
    cells = stats[:, cv2.CC_STAT_AREA]
    subject = cells > min(_SPECK_CELLS, _SPECK_SHARE * np.count_nonzero(clear))
    subject[0] = False
    return np.asarray(subject[labels]) if count > 1 else clear


def _has_gaps(grid: PlainGrid, part: Span) -> bool:
    """Return whether much of the subject in ``part`` has the background's color, such as the links of a chain."""
    clear = _clear(grid)[part.area].view(np.uint8)
    side = grid.samples.shape[0] // grid.net.shape[0]
    samples = grid.samples[part.scaled(side, *grid.samples.shape[:2]).area]
    size = samples.shape[1], samples.shape[0]
    background = cv2.resize(grid.compared.background[part.area], size, interpolation=cv2.INTER_NEAREST)
    closed = cv2.resize(cv2.morphologyEx(clear, cv2.MORPH_CLOSE, _WINDOW3), size, interpolation=cv2.INTER_NEAREST) > 0
    distance = largest_channel(cv2.subtract(samples, background, dtype=cv2.CV_32F))[closed]
    gaps = np.count_nonzero(distance < max(_LEAST_GAP_LEVEL, _GAP_FACTOR * grid.compared.level))
    return bool(gaps > _MAX_GAPS * distance.size)


def _read_cells(rgb: U8, step: int) -> tuple[U8, U8]:
    """Return samples of the image, at most two along the side of a cell, and the means of cells, u8[h,w,3] each.

    A cell that extends past the frame has samples of the pixels inside it.
    """
    height, width = rgb.shape[:2]
    side = min(step, _CELL_SAMPLES)
    rows, columns = -(-height // step), -(-width // step)
    samples = np.empty((rows * side, columns * side, 3), np.uint8)
    whole_rows, whole_columns = height // step, width // step
    for top, bottom, first_row, last_row in _sample_ranges(whole_rows, step, side, height):
        for left, right, first_column, last_column in _sample_ranges(whole_columns, step, side, width):
            size = last_column - first_column, last_row - first_row
            part = cv2.resize(rgb[top:bottom, left:right], size, interpolation=cv2.INTER_NEAREST)
            samples[first_row:last_row, first_column:last_column] = part
    # The first lines of samples are those at the border of the image. The last ones must be, too.
    samples[-1] = cv2.resize(rgb[-1:], (columns * side, 1), interpolation=cv2.INTER_NEAREST)
    samples[:, -1:] = cv2.resize(rgb[:, -1:], (1, rows * side), interpolation=cv2.INTER_NEAREST)
    cells = np.asarray(cv2.resize(samples, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    return samples, cells


def _sample_ranges(cells: int, step: int, side: int, pixels: int) -> list[tuple[int, int, int, int]]:
    """Return the pixels and the samples, as begin and end, of the whole cells along a side, and of a partial cell."""
    parts = [(0, cells * step, 0, cells * side)]
    if pixels > cells * step:
        parts.append((cells * step, pixels, cells * side, (cells + 1) * side))
    return parts
