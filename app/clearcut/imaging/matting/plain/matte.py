"""Mattes of subjects on plain backgrounds: alpha from the known color of the background.

On a plain background I = alpha * F + (1 - alpha) * B, with B known everywhere and F similar to the subject nearby.
Alpha is the share of F - B in I - B. Like the guided filter, the coefficients are computed on a grid of cells and
applied to the pixels of the edge.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from clearcut.imaging.matting.edge_band import Mask, Span, any_in_strips, find_spans, max_gap, strip_height
from clearcut.imaging.matting.guided_filter import apply_coefficients, fill_strips, upsample
from clearcut.imaging.matting.tiles import TileSet
from clearcut.imaging.types import F32, U8, EdgeModel

from .background_field import border_field
from .cells import PlainGrid, read_grid
from .color_masks import largest_channel
from .regions import Regions, divide

_CHROMA_WEIGHT = 0.35
"""Weight of color differences against brightness: JPEG files store color at half the size."""
_LUMA = np.array([[0.299, 0.587, 0.114]])
_CHROMA = np.eye(3) - np.ones((3, 1)) @ _LUMA
_METRIC = np.asarray(3 * _LUMA.T @ _LUMA + _CHROMA_WEIGHT * _CHROMA.T @ _CHROMA, np.float32)
_FAR, _FAR_WEIGHT = 4, 0.02
"""Distance in cells up to which the subject's colors count for a cell, and their weight relative to those beside it."""
_EVEN = 0.997
"""Share of the mean in the power of the subject's colors near an edge from which they count as one color."""
_EVEN_CONTRAST = 40
"""Difference from the background in levels that such a color must have."""
_REACH = 9
"""Side, in cells, of the window around a wrong cell of the network in which colors decide."""
_ONES = np.ones((1, 3), np.float32)
_PIXEL_BYTES = 28
_WINDOW3, _WINDOW5 = np.ones((3, 3), np.uint8), np.ones((5, 5), np.uint8)


def plain_matte(values: F32, rgb: U8, edge_model: EdgeModel | None = None) -> U8 | None:
    """Return alpha u8[H,W] of ``rgb`` (u8[H,W,3]), or None without a plain background and a subject that differs.

    Args:
        values: the network's matte of the whole image, f32[h,w] in 0..1.
        edge_model: for the parts in which the network's matte is used.
    """
    field = border_field(rgb)
    grid = None if field is None else read_grid(values, rgb, field)
    regions = None if grid is None else divide(grid.net, grid.compared, grid.step, grid.frame)
    if grid is None or regions is None:
        return None
    alpha = np.zeros(rgb.shape[:2], np.uint8)
    pixels = grid.area.area
    alpha[pixels] = _alpha_of(grid, regions, rgb[pixels], lambda: upsample(values, rgb, edge_model)[pixels])
    return alpha


def _alpha_of(grid: PlainGrid, regions: Regions, rgb: U8, net_alpha: Callable[[], U8]) -> U8:
    """Return alpha u8[h,w] of the pixels of a grid, ``rgb`` (u8[h,w,3]).

    Args:
        net_alpha: returns the network's matte of the same pixels, u8[h,w].
    """
    height, width = rgb.shape[:2]
    step, shape = grid.step, grid.net.shape
    area, side = regions.part.area, grid.samples.shape[0] // shape[0]
    part_samples = grid.samples[regions.part.scaled(side, *grid.samples.shape[:2]).area]
    slope, offset, edge, thin = _coefficients(regions, part_samples)
    by_color = _decided_by_color(regions, thin, grid.net[area])
    near_edge = np.asarray(cv2.dilate((edge | regions.doubtful).view(np.uint8), _WINDOW5), np.uint8)
    near_color = np.asarray(cv2.dilate(by_color.view(np.uint8), _WINDOW3), np.uint8) & near_edge
    planes = regions.subject.view(np.uint8), near_edge, near_color, slope, offset, by_color.astype(np.float32)
    subject, near_edge, near_color, slope, offset, weight = (_on_grid(each, area, shape) for each in planes)
    rows = strip_height(step)

    def tiles_of(mask: np.ndarray) -> TileSet | None:
        active = any_in_strips(np.asarray(mask, np.uint8), rows)
        spans = find_spans(active, rows, shape[0], max_gap(step))
        return TileSet(spans, step, (height, width)) if spans else None

    alpha = fill_strips(any_in_strips(np.asarray(subject, np.uint8), rows), step, rows * step, height, width)
    edges, colored = tiles_of(near_edge), tiles_of(near_color)
    if edges is not None:
        edges.copy(net_alpha(), alpha)
    if colored is not None:
        slope, offset, weight = colored.cells(1, slope, offset, weight)
        for tile in colored.tiles(_PIXEL_BYTES):
            pixels = apply_coefficients(slope, offset, tile, rgb)
            tile.scatter(_mix(tile.gather(alpha), pixels, tile.zoom(weight)), alpha)
    return alpha


def _on_grid(plane: np.ndarray, area: tuple[slice, slice], shape: tuple[int, ...]) -> np.ndarray:
    """Return a plane of ``shape`` cells that holds ``plane`` in ``area``, and 0 elsewhere."""
    whole = np.zeros((*shape, *plane.shape[2:]), plane.dtype)
    whole[area] = plane
    return whole


def _coefficients(regions: Regions, samples: U8) -> tuple[F32, F32, Mask, Mask]:
    """Return slope f32[h,w,3] and offset f32[h,w] of alpha in 0..255, the cells at edges, and those of clear edges."""
    subject = regions.subject.view(np.uint8)
    edge = (cv2.dilate(subject, _WINDOW3) > 0) & (cv2.dilate(regions.background.view(np.uint8), _WINDOW3) > 0)
    pure = (regions.subject & ~edge).view(np.uint8)
    # Between cells the coefficients are linear, so that an edge needs those of the cells on both sides.
    edge = cv2.dilate(edge.view(np.uint8), _WINDOW3) > 0
    places = np.flatnonzero(edge)
    color, near, even = _mean_colors(regions.difference, pure.astype(np.float32), places)
    even &= (cv2.dilate(regions.shadow.view(np.uint8), np.ones((_REACH, _REACH), np.uint8)) == 0).reshape(-1)[places]
    thin = near == 0
    if thin.any():  # a thin part has no pure cell: use the purest pixels nearby
        lines, columns = np.divmod(places[thin], edge.shape[1])
        around = Span(lines.min(), lines.max() + 1, columns.min(), columns.max() + 1).grown(_FAR, *edge.shape)
        area, side = around.area, samples.shape[0] // edge.shape[0]
        extreme = _extremes(samples[around.scaled(side, *samples.shape[:2]).area], regions.colors[area])
        purity = largest_channel(extreme) * subject[area]
        purity *= purity
        inner = (lines - around.top) * (around.right - around.left) + columns - around.left
        color[thin] = _mean_colors(extreme, np.asarray(purity * purity, np.float32), inner)[0]
    weighted = color @ _METRIC
    power = np.maximum(_row_dots(weighted, color), 1)
    margin = np.minimum(0.25, (2.5 * regions.field.noise + 1) / np.sqrt(power))
    gain = (255 / (1 - 2 * margin)).astype(np.float32)
    weighted *= (gain / power)[:, None]
    slope, offset = np.zeros((*edge.shape, 3), np.float32), np.float32(255) * subject
    slope.reshape(-1, 3)[places] = weighted
    back = regions.colors.reshape(-1, 3)[places]
    offset.reshape(-1)[places] = (255 - gain) / 2 - _row_dots(weighted, back)
    clear = np.zeros(edge.shape, np.bool_)
    clear.reshape(-1)[places] = thin | even
    return slope, offset, edge, clear


def _row_dots(first: F32, second: F32) -> F32:
    """Return the sums of products of the rows of two f32[N,3], f32[N]."""
    return np.asarray(np.einsum("nc,nc->n", first, second), np.float32)


def _extremes(samples: U8, background: F32) -> F32:
    """Return the largest difference of a sample of each cell from the ``background`` (f32[h,w,3]), f32[h,w,3]."""
    side = samples.shape[0] // background.shape[0]
    window, first = np.ones((side, side), np.uint8), side // 2
    low, high = (
        np.asarray(cv2.subtract(pick(samples, window)[first::side, first::side], background, dtype=cv2.CV_32F))
        for pick in (cv2.erode, cv2.dilate)
    )
    return np.asarray(np.where(-low > high, low, high), np.float32)


def _decided_by_color(regions: Regions, thin: Mask, net: F32) -> Mask:
    """Return the cells in which colors decide: in thin parts, and where the network's matte is clearly different.

    Elsewhere the network's edges are better: they are trained on blurred edges and on hair.
    """
    inner, outer = (cv2.erode(each.view(np.uint8), _WINDOW5) > 0 for each in (regions.subject, regions.background))
    wrong = (inner & (net < 0.6)) | (outer & (net > 0.4)) | thin
    return (cv2.dilate(wrong.view(np.uint8), np.ones((_REACH, _REACH), np.uint8)) > 0) & ~regions.doubtful


def _mean_colors(colors: F32, weights: F32, places: np.ndarray) -> tuple[F32, F32, Mask]:
    """Return weighted means of ``colors`` (f32[h,w,3]) around N cells, f32[N,3], and the sums of weights, f32[N].

    The third result is where the colors within four cells are nearly one color that differs much from the background.

    Args:
        places: flat indices of the cells.
    """
    planes = cv2.cvtColor(cv2.multiply(colors, cv2.cvtColor(weights, cv2.COLOR_GRAY2RGB)), cv2.COLOR_RGB2RGBA)
    cv2.insertChannel(weights, planes, 3)
    sums, far = (
        cv2.boxFilter(planes, -1, (side, side), normalize=False).reshape(-1, 4)[places] for side in (3, 2 * _FAR + 1)
    )
    squares = cv2.multiply(cv2.transform(cv2.multiply(colors, colors), _ONES), weights)
    squares = cv2.boxFilter(squares, -1, (2 * _FAR + 1,) * 2, normalize=False).reshape(-1)[places]
    sums += np.float32(_FAR_WEIGHT) * far
    total = sums[:, 3] * (sums[:, 3] > 1e-3)
    means = sums[:, :3] / np.maximum(total, 1e-3)[:, None]
    even = _row_dots(far[:, :3], far[:, :3]) > _EVEN * np.maximum(far[:, 3] * squares, 1e-3)
    red, green, blue = np.abs(means.T)
    even &= np.maximum(np.maximum(red, green), blue) > _EVEN_CONTRAST
    return np.asarray(means, np.float32), np.asarray(total, np.float32), np.asarray(even)


def _mix(first: U8, second: U8, weight: F32) -> U8:
    """Return ``first`` where ``weight`` is 0 and ``second`` where it is 1, u8[h,w]."""
    difference = second.astype(np.float32) - first
    return np.asarray(first + difference * weight + np.float32(0.5)).astype(np.uint8)
