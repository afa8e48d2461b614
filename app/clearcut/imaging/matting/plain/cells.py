"""The cells of an image with a plain background: of the whole image, or of the area around a small subject.

The rules of ``regions`` count in cells, and fit subjects that cover most of the grid. A subject of 20 cells would lose
parts. Around such a subject, a second grid has smaller cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from clearcut.imaging.matting.edge_band import Span
from clearcut.imaging.matting.grid import limited_step, sample_area_at_cells, sample_at_cells
from clearcut.imaging.types import F32, U8

from .background_field import ColorField, border_field
from .comparison import Comparison, compare
from .regions import subject_part

_CELLS = 220
"""Cells along the longer side of the grid, about."""
_CELL_SAMPLES = 2
"""Pixels along the side of a cell that are read, at most."""
_SMALL = 0.5
"""Maximum longer side of the area around a small subject, as a share of the image's."""
_CLEAR = 2.0
"""Distance from the background of a cell that counts, in multiples of the distance from which a cell differs. Noise and
gradients that the field does not explain have less."""
_MARGIN = 0.25
"""Margin of the area on each side, as a share of the subject's longer side."""
_EXTRA = 2
"""Cells added to the margin."""


@dataclass(frozen=True, slots=True)
class PlainGrid:
    area: Span
    """The pixels that the grid covers; its last cells may extend past them."""
    step: int
    """Side of a cell in pixels."""
    samples: U8
    """Pixels of the cells, one or 2 x 2 of each: u8[n*h,n*w,3]."""
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
    height, width = rgb.shape[:2]
    grid = _read(values, rgb, field, Span(0, height, 0, width))
    area = None if grid is None else _small_subject(grid, height, width)
    if grid is None or area is None:
        return grid
    return _read(values, rgb, grid.compared.field.within(area, height, width), area)


def small_subject_area(rgb: U8) -> Span | None:
    """Return the pixels around a small subject on a plain background, by its colors; None if there is none.

    Args:
        rgb: the image, u8[H,W,3].
    """
    field = border_field(rgb)
    if field is None:
        return None
    height, width = rgb.shape[:2]
    grid = _read(np.zeros((1, 1), np.float32), rgb, field, Span(0, height, 0, width))
    return None if grid is None else _small_subject(grid, height, width)


def _read(values: F32, rgb: U8, field: ColorField, area: Span) -> PlainGrid | None:
    pixels = rgb[area.area]
    height, width = pixels.shape[:2]
    step = _step(area)
    if min(height, width) <= step:
        return None  # a grid of a single row or column has no cells on both sides of an edge
    samples, cells = _read_cells(pixels, step)
    compared = compare(cells, field, step)
    if compared is None:
        return None
    if pixels.shape == rgb.shape:
        net = sample_at_cells(values, step, height, width)
    else:
        net = sample_area_at_cells(values, area, step, rgb.shape[0], rgb.shape[1])
    return PlainGrid(area, step, samples, net, compared)


def _step(area: Span) -> int:
    height, width = area.bottom - area.top, area.right - area.left
    return limited_step(round(max(height, width) / _CELLS), height, width)


def _small_subject(grid: PlainGrid, height: int, width: int) -> Span | None:
    """Return the pixels of a small subject with a margin, or None if the subject is not small."""
    part = subject_part(grid.compared.distance < _CLEAR * grid.compared.level, grid.net)
    size = max(part.bottom - part.top, part.right - part.left)
    area = part.grown(round(_MARGIN * size) + _EXTRA, *grid.net.shape).scaled(grid.step, height, width)
    longer = max(area.bottom - area.top, area.right - area.left)
    if not size or longer > _SMALL * max(height, width) or _step(area) == grid.step:
        return None
    return area


def _read_cells(rgb: U8, step: int) -> tuple[U8, U8]:
    """Return samples of the image, at most two along the side of a cell, and the means of cells, u8[h,w,3] each.

    A cell that extends past the frame has samples of the pixels inside it.
    """
    height, width = rgb.shape[:2]
    side = min(step, _CELL_SAMPLES)
    rows, columns = -(-height // step), -(-width // step)
    samples = np.empty((rows * side, columns * side, 3), np.uint8)
    whole_rows, whole_columns = height // step, width // step
    for top, bottom, first_row, last_row in _parts(whole_rows, step, side, height):
        for left, right, first_column, last_column in _parts(whole_columns, step, side, width):
            size = last_column - first_column, last_row - first_row
            part = cv2.resize(rgb[top:bottom, left:right], size, interpolation=cv2.INTER_NEAREST)
            samples[first_row:last_row, first_column:last_column] = part
    # The first lines of samples are those at the border of the image. The last ones must be, too.
    samples[-1] = cv2.resize(rgb[-1:], (columns * side, 1), interpolation=cv2.INTER_NEAREST)
    samples[:, -1:] = cv2.resize(rgb[:, -1:], (1, rows * side), interpolation=cv2.INTER_NEAREST)
    cells = np.asarray(cv2.resize(samples, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    return samples, cells


def _parts(cells: int, step: int, side: int, pixels: int) -> list[tuple[int, int, int, int]]:
    """Return the pixels and the samples, as begin and end, of the whole cells along a side, and of a partial cell."""
    parts = [(0, cells * step, 0, cells * side)]
    if pixels > cells * step:
        parts.append((cells * step, pixels, cells * side, (cells + 1) * side))
    return parts
