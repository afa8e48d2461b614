"""The compiled functions for grid cells and measures compute the same as OpenCV and NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from clearcut.imaging.compiled.image_measures import load_measures
from clearcut.imaging.matting import edge_band, edge_correction, foreground, guided_filter, refine
from clearcut.imaging.matting.compiled_cells import Regularization, load_compiled_cells
from clearcut.imaging.matting.plain import background_field
from tests.support import samples

pytestmark = pytest.mark.skipif(
    load_compiled_cells() is None or load_measures() is None,
    reason="the C files are not compiled: make setup needs a C compiler",
)
SIZES = [(1, 1), (1, 2), (2, 1), (1, 37), (41, 1), (2, 2), (3, 5), (16, 24), (57, 90), (131, 64)]


def random_cells(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return colors, a matte and undecided cells."""
    random = np.random.default_rng(height * 1000 + width)
    guide = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    target = np.clip(random.normal(0.5, 0.5, (height, width)), 0, 1).astype(np.float32)
    return guide, target, (random.random((height, width)) < 0.6).astype(np.uint8)


def wide(plane: np.ndarray) -> np.ndarray:
    """Return a copy that is a part of a larger array."""
    larger = np.zeros((plane.shape[0] + 3, plane.shape[1] + 5, *plane.shape[2:]), plane.dtype)
    part = larger[1:-2, 2:-3]
    part[...] = plane
    return part


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_fit_equals_fallback(height: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    guide, target, edge = random_cells(height, width)

    def fit() -> list[np.ndarray]:
        slope, offset = wide(np.zeros((height, width, 3), np.float32)), wide(np.float32(255) * (target > 0.5))
        return [slope, offset, *guided_filter.fit_at_edge(wide(guide), wide(target), wide(edge), slope, offset)]

    found = fit()
    monkeypatch.setattr(guided_filter, "_compiled_cells", None)
    slope, offset, level, r_squared = fit()
    np.testing.assert_allclose(found[0], slope, atol=2e-3)
    np.testing.assert_allclose(found[1], offset, atol=0.25)
    np.testing.assert_allclose(found[2], level, atol=0.25)
    np.testing.assert_allclose(found[3], r_squared, atol=1e-3)
    assert (found[0][edge == 0] == 0).all()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_classes_equal_fallback(height: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(width)
    slope = wide(random.normal(0, 0.3, (height, width, 3)).astype(np.float32))
    level = random.normal(128, 200, (height, width)).astype(np.float32)
    found = wide(np.zeros((height, width), np.bool_)), wide(np.ones((height, width), np.bool_))
    expected = found[0].copy(), found[1].copy()
    guided_filter._classify_cells(slope, level, *found)
    monkeypatch.setattr(guided_filter, "_compiled_cells", None)
    guided_filter._classify_cells(slope, level, *expected)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_correction_equals_fallback(height: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    guide, raw, edge = random_cells(height, width)
    random = np.random.default_rng(height)
    model_output = wide(random.normal(0, 0.2, (height, width)).astype(np.float32))
    r_squared = random.uniform(0.6, 1, (-(-height // 2), -(-width // 2))).astype(np.float32)

    def correct() -> np.ndarray:
        return edge_correction.edge_correction(raw * 255, guide, raw, edge, r_squared, lambda *_: model_output)

    found = correct()
    monkeypatch.setattr(edge_correction, "_compiled_cells", None)
    np.testing.assert_allclose(found, correct(), atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [*SIZES, (439, 300), (640, 901), (3, 4001), (2000, 7)])
def test_colors_equal_fallback(height: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = samples.photo("astronaut", width, height)
    alpha = samples.disc(height, width, soft=max(height, width) / 6)
    random = np.random.default_rng(width)
    alpha[random.random(alpha.shape) < 0.01] = 130
    found = foreground.estimate_foreground(rgb, alpha)
    monkeypatch.setattr(foreground, "_compiled_cells", None)
    monkeypatch.setattr(foreground, "_compiled_pixels", None)
    monkeypatch.setattr(edge_band, "_measures", None)
    expected = foreground.estimate_foreground(rgb, alpha)
    distance = np.abs(found.astype(int) - expected)
    assert distance.max() <= 1
    assert (distance > 0).mean() < 2e-3


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_strips_equal_fallback(height: int, width: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    alpha = wide(np.random.default_rng(width).integers(0, 256, (height, width), dtype=np.uint8))
    found, ambiguous = edge_band.strips_of(alpha, rows), refine.ambiguous_pixels(alpha)
    monkeypatch.setattr(edge_band, "_measures", None)
    expected = edge_band.strips_of(alpha, rows)
    np.testing.assert_array_equal(found.highest, expected.highest)
    np.testing.assert_array_equal(found.lowest, expected.lowest)
    assert ambiguous == int(((alpha >= 26) & (alpha <= 229)).sum())


@pytest.mark.parametrize("number", range(24))
def test_border_equals_fallback(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(number)
    height, width = (int(side) for side in random.integers(24, 300, 2))
    y, x = np.mgrid[:height, :width]
    plane = random.integers(0, 256, 3) + 0.1 * x[..., None] * random.normal(0, 1, 3) + 0.02 * y[..., None]
    plane += random.normal(0, 0.3 * number, plane.shape)
    if number % 3 == 0:
        plane[height // 2 :, width // 4 : width // 2] = random.integers(0, 256, 3)
    rgb = wide(np.clip(plane, 0, 255).astype(np.uint8))
    found = background_field.border_field(rgb)
    monkeypatch.setattr(background_field, "_measures", None)
    expected = background_field.border_field(rgb)
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-8)
        assert found.noise == pytest.approx(expected.noise, abs=1e-8)
        assert found.share == expected.share


@pytest.mark.parametrize("read_only", ["slope", "offset"])
def test_fit_refuses_read_only_outputs(read_only: str) -> None:
    cells = load_compiled_cells()
    assert cells is not None
    guide, target, edge = random_cells(8, 12)
    outputs = {"slope": np.zeros((8, 12, 3), np.float32), "offset": np.zeros((8, 12), np.float32)}
    outputs[read_only].flags.writeable = False
    with pytest.raises(ValueError, match="can be written to"):
        cells.fit(guide, target, edge, Regularization(1e-4, 1.3), outputs["slope"], outputs["offset"])
    assert (outputs[read_only] == 0).all()


@pytest.mark.parametrize("read_only", [0, 1])
def test_classes_refuse_read_only_outputs(read_only: int) -> None:
    cells = load_compiled_cells()
    assert cells is not None
    outputs = [np.zeros((8, 12), np.bool_) for _ in range(2)]
    outputs[read_only].flags.writeable = False
    with pytest.raises(ValueError, match="can be written to"):
        cells.classify(np.zeros((8, 12, 3), np.float32), np.full((8, 12), 300, np.float32), 9, *outputs)
    assert not outputs[read_only].any()


@pytest.mark.parametrize(
    ("lowest", "highest", "count"), [(200, 10, 0), (26, 229, 204), (-5, 9, 10), (250, 999, 6), (256, 300, 0)]
)
def test_count_between_levels(lowest: int, highest: int, count: int) -> None:
    measures = load_measures()
    assert measures is not None
    assert measures.count_between(np.arange(256, dtype=np.uint8).reshape(16, 16), lowest, highest) == count


@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize("shape", [(5, 0), (0, 5), (0, 0)])
def test_empty_matte_has_no_ambiguous_pixels(
    shape: tuple[int, int], is_compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_compiled:
        monkeypatch.setattr(refine, "_measures", None)
    assert refine.ambiguous_pixels(np.empty(shape, np.uint8)) == 0


def test_wrong_arrays_are_refused() -> None:
    cells, measures = load_compiled_cells(), load_measures()
    assert cells is not None
    assert measures is not None
    guide, target, edge = random_cells(8, 12)
    slope, offset = np.zeros((8, 12, 3), np.float32), np.zeros((8, 12), np.float32)
    regularization = Regularization(1e-4, 1.3)
    for arrays in (
        (guide[:, ::2], target, edge, slope, offset),
        (guide, target.astype(np.float64), edge, slope, offset),
        (guide, target, edge[1:], slope, offset),
        (guide, target, edge, slope[:, :11], offset),
        (guide, target, edge, slope, offset.T),
    ):
        with pytest.raises(ValueError, match="packed rows"):
            cells.fit(arrays[0], arrays[1], arrays[2], regularization, arrays[3], arrays[4])
    for part in (edge[:, ::2], edge[0], guide):
        with pytest.raises(ValueError, match=r"u8\[h,w\] with packed rows"):
            measures.count_between(part, 0, 1)
        with pytest.raises(ValueError, match=r"u8\[h,w\] with packed rows"):
            measures.strip_extremes(part, 4)
    with pytest.raises(ValueError, match="at least one row"):
        measures.strip_extremes(edge, 0)
    with pytest.raises(ValueError, match="2 x 2"):
        measures.border_field(guide[:1], background_field._BORDER_LIMITS)
