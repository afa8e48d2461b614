"""The edge model: its file is verified, and it accepts grids of any size from any thread."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from clearcut.errors import StartupError
from clearcut.inference.edge_model import OnnxEdgeModel, load_edge_model
from clearcut.inference.manifest import models_folder


@pytest.fixture(scope="module")
def edges() -> OnnxEdgeModel:
    return load_edge_model()


ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""SHA-256 of the bytes ``abc``."""


def planes(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(height * 1000 + width)
    values = rng.random((height, width), np.float32)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), values, 1.4 * values - 0.2


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (4, 4), (3, 6), (5, 8), (100, 77)])
def test_any_grid_size(edges: OnnxEdgeModel, height: int, width: int) -> None:
    correction = edges(*planes(height, width))
    assert correction.shape == (height, width)
    assert correction.dtype == np.float32
    assert np.isfinite(correction).all()


def test_grid_is_padded_with_its_last_cells(edges: OnnxEdgeModel) -> None:
    """A grid of 5 x 6 gives the same result as 8 x 8 with the last row and column repeated."""
    small = planes(5, 6)
    large = [np.pad(each, [(0, 3), (0, 2), (0, 0)][: each.ndim], mode="edge") for each in small]
    np.testing.assert_allclose(edges(*small), edges(*large)[:5, :6], atol=1e-5)


def test_threads_get_their_own_results(edges: OnnxEdgeModel) -> None:
    grids = [planes(40 + 4 * number, 60) for number in range(12)]
    alone = [edges(*each) for each in grids]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: edges(*each), grids))
    for expected, actual in zip(alone, together, strict=True):
        np.testing.assert_array_equal(actual, expected)


def manifest(folder: Path, text: str) -> Path:
    (folder / "manifest.toml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "edges: table is missing"),
        ('[edges]\nfile = "../x.onnx"\nsha256 = "0"', "edges.file"),
        (f'[edges]\nfile = "x.onnx"\nsha256 = "{ABC}"', "x.onnx cannot be read"),
        ('[edges]\nfile = "here.onnx"\nsha256 = "0"', "edges.sha256"),
        (f'[edges]\nfile = "here.onnx"\nsha256 = "{64 * "0"}"', "has sha256 ba78"),
        (f'[edges]\nfile = "here.onnx"\nsha256 = "{ABC}"', "cannot be used"),
    ],
)  # fmt: skip
def test_wrong_file_is_refused(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "here.onnx").write_bytes(b"abc")
    with pytest.raises(StartupError, match=re.escape(error)):
        load_edge_model(manifest(tmp_path, text))


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    text = (models_folder() / "manifest.toml").read_text()
    (tmp_path / "clearcut-edges.onnx").write_bytes((models_folder() / "clearcut-edges.onnx").read_bytes()[:-1])
    with pytest.raises(StartupError, match="the manifest says"):
        load_edge_model(manifest(tmp_path, text))
