"""Tiles: spans copied side by side equal the image and the grid."""

import cv2
import numpy as np
import pytest

from clearcut.imaging.matting import tiles as tiles_module
from clearcut.imaging.matting.edge_band import Span, any_in_strips, find_spans
from clearcut.imaging.matting.tiles import TileSet


def drawn(height: int, width: int, step: int, high: int, share: float) -> tuple[list[Span], np.ndarray]:
    """Spans of a random mask, and the pixels in them."""
    rows, columns = -(-height // step), -(-width // step)
    mask = (np.random.default_rng(height + step).random((rows, columns)) < share).astype(np.uint8)
    mask[-1, -1] = 1
    found = find_spans(any_in_strips(mask, high), high, rows, 1)
    covered = np.zeros((height, width), np.bool_)
    for span in found:
        covered[span.scaled(step, height, width).area] = True
    return found, covered


SHAPES = [(50, 70, 3, 4), (7, 5, 1, 6), (1, 40, 2, 6), (64, 64, 4, 16), (41, 200, 5, 3), (9, 9, 9, 6)]


@pytest.mark.parametrize(("height", "width", "step", "high"), SHAPES)
@pytest.mark.parametrize("share", [0.02, 0.3])
@pytest.mark.parametrize("pixels", [1, 600, 1 << 16])
def test_zoomed_tiles_match_whole_grid(
    height: int, width: int, step: int, high: int, share: float, pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles_module, "_TILE_BYTES", 7 * pixels)
    found, covered = drawn(height, width, step, high, share)
    grid = -(-height // step), -(-width // step)
    plane = np.random.default_rng(1).random((*grid, 3), np.float32) * 255
    size = grid[1] * step, grid[0] * step
    reference = cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)[:height, :width].astype(np.uint8)
    made = np.zeros((height, width, 3), np.uint8)
    tiles = TileSet(found, step, (height, width))
    (sheet,) = tiles.cells(1, plane)
    for trimmed in tiles.trimmed(4, *tiles.cells(4, plane, plane)):
        np.testing.assert_array_equal(trimmed, sheet)
    for tile in tiles.tiles(7):
        tile.scatter(tile.zoom(sheet).astype(np.uint8), made)
    assert int(cv2.absdiff(made, reference)[covered].max()) <= 1
    assert not made[~covered].any()


@pytest.mark.parametrize(("height", "width", "step", "high"), SHAPES)
def test_gather_and_scatter_round_trip(height: int, width: int, step: int, high: int) -> None:
    found, covered = drawn(height, width, step, high, 0.1)
    rng = np.random.default_rng(2)
    rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    whole = np.zeros_like(rgb)
    for tile in TileSet(found, step, (height, width)).tiles(7):
        tile.scatter(tile.gather(rgb), whole)
    np.testing.assert_array_equal(whole, rgb * covered[..., None])


def test_tiles_hold_every_span_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles_module, "_TILE_BYTES", 7 * 3000)
    monkeypatch.setattr(tiles_module, "_MAX_SPAN_PIXELS", 2500)
    found, covered = drawn(300, 400, 4, 4, 0.05)
    counted = np.zeros((300, 400), np.uint8)
    for tile in TileSet(found, 4, (300, 400)).tiles(7):
        sheet = tile.gather(counted)
        assert sheet.size <= 3000
        tile.scatter(sheet + np.uint8(1), counted)
    np.testing.assert_array_equal(counted, covered)
