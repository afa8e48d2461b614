"""The packaged edge model, on composites of photos with mattes of the default network."""

import itertools

import cv2
import numpy as np
import pytest

from clearcut.imaging.matting.guided_filter import upsample
from clearcut.imaging.prepare import prepare
from clearcut.imaging.types import DecodedImage
from clearcut.inference.edge_model import load_edge_model
from clearcut.inference.model_files import load_model
from clearcut.inference.session import OnnxEngine
from models.scoring.matting import gradient_magnitude
from tests.support.samples import PHOTOS, photo


def subject(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """u8[H,W]: the exact alpha of a wavy disc with a slit and two thin legs, drawn four times as large."""
    turns = np.linspace(0, 2 * np.pi, 400)
    waves = sum(rng.normal(0, 0.05) * np.cos(count * turns + rng.uniform(0, 6)) for count in range(2, 9))
    x, y = (
        np.cos(turns) * (1 + waves) * 0.25 * width + width / 2,
        np.sin(turns) * (1 + waves) * 0.25 * height + height / 2,
    )
    large = np.zeros((4 * height, 4 * width), np.uint8)
    cv2.fillPoly(large, [(4 * np.stack([x, y], 1)).astype(np.int32)], 255)
    for share in (0.4, 0.6):
        foot = int(4 * width * (share + rng.uniform(-0.05, 0.05)))
        cv2.line(large, (int(4 * width * share), 2 * height), (foot, int(3.7 * height)), 255, 4 * 6)
    cv2.line(large, (2 * width, 2 * height), (2 * width + 4 * 60, 2 * height - 4 * 60), 0, 4 * 5)
    return cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)


def errors(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """f64[2]: the gradient error and the sum of absolute differences, as in ``models.scoring.matting``."""
    p, t = found / 255.0, truth / 255.0
    gradient = ((gradient_magnitude(p) - gradient_magnitude(t)) ** 2).sum()
    return np.array([gradient, np.abs(p - t).sum()])


@pytest.mark.parametrize("size", [(480, 640), (960, 1280)])
def test_gradient_error_falls_without_sad_loss(size: tuple[int, int]) -> None:
    edges = load_edge_model()
    model = load_model("clearcut-s")
    engine = OnnxEngine(model, "cpu", 1)
    rng = np.random.default_rng(5)
    photos = {name: photo(name, *size[::-1]) for name in PHOTOS}
    left = []
    for front, back in itertools.permutations(PHOTOS, 2):
        alpha = subject(*size, rng)
        share = (alpha / 255.0)[..., None]
        rgb = (share * photos[front] + (1 - share) * photos[back]).astype(np.uint8)
        raw = engine.warm(prepare(DecodedImage(rgb), model.entry.input).tensor[None])[0]
        guided, corrected = (errors(upsample(raw, rgb, which), alpha) for which in (None, edges))
        left.append(corrected / guided)
    gradient, sad = np.mean(left, axis=0)
    assert gradient < 0.98
    assert sad < 1.02


@pytest.mark.parametrize(
    "size",
    [(1, 1), (1, 50), (50, 1), (3, 3), (2, 16384), (16384, 2), (7, 400), (333, 517)],
    ids=lambda size: "x".join(map(str, size)),
)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0, None])
def test_odd_sizes(size: tuple[int, int], level: float | None) -> None:
    rng = np.random.default_rng(7)
    rgb = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    values = rng.random((320, 320), np.float32) if level is None else np.full((320, 320), level, np.float32)
    edges = load_edge_model()
    found = upsample(values, rgb, edges)
    assert found.shape == size
    np.testing.assert_array_equal(found, upsample(values, rgb, edges))
    if level in (0.0, 1.0):
        assert (found == 255 * level).all()


@pytest.mark.parametrize("degrees", [7, 30, 63])
@pytest.mark.parametrize("side", [640, 2000])
def test_straight_edge_stays_straight(side: int, degrees: int) -> None:
    y, x = np.mgrid[:side, :side].astype(np.float32) - np.float32(side / 2)
    turn = np.deg2rad(degrees)
    share = np.clip(x * np.cos(turn) + y * np.sin(turn) + 0.5, 0, 1)[..., None]
    rgb = share * np.array([200, 60, 40]) + (1 - share) * np.array([240, 240, 230])
    rgb = np.clip(rgb + np.random.default_rng(0).normal(0, 2, rgb.shape), 0, 255).astype(np.uint8)
    small = cv2.resize(share[..., 0].astype(np.float32), (320, 320), interpolation=cv2.INTER_AREA)
    found = upsample(cv2.GaussianBlur(small, (0, 0), 1.5), rgb, load_edge_model())
    rows = (found / 255 - share[..., 0]).sum(0 if degrees > 45 else 1)[side // 8 : -side // 8]
    # Pixels by which the edge is off in a row: up to 1.7 with full weight of the model.
    assert np.abs(rows).max() < 0.25
