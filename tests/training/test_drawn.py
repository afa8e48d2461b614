"""The drawn families: exact mattes, determinism and the hold-out rule."""

from __future__ import annotations

import numpy as np
import pytest

from models.training import drawn
from models.training.drawn.flat import FIGURES
from models.training.drawn.lettering import FONT_PACKAGES
from models.training.drawn.outlines import OUTLINES

SIZE = 96


def pen(seed: int, *, held_out: bool = False) -> drawn.Pen:
    rng = np.random.default_rng(seed)
    photo = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    cutout = np.zeros((SIZE, SIZE, 4), np.uint8)
    cutout[20:70, 30:60] = (200, 100, 50, 255)
    return drawn.Pen(SIZE, rng, held_out, lambda: photo, lambda: cutout)


@pytest.mark.parametrize("family", sorted(drawn.FAMILIES))
def test_family_draws_subject_repeatably(family: str) -> None:
    if family in ("wordmark", "box", "printed"):
        pytest.importorskip("font_roboto", reason="the fonts of the training environment are not installed")
    covered = []
    for seed in range(6):
        rgb, matte, name = drawn.sample(pen(seed), family)
        again, same, _ = drawn.sample(pen(seed), family)
        assert (name, rgb.shape, matte.shape) == (family, (SIZE, SIZE, 3), (SIZE, SIZE))
        assert rgb.dtype == matte.dtype == np.uint8
        np.testing.assert_array_equal(rgb, again)
        np.testing.assert_array_equal(matte, same)
        covered.append((matte > 127).mean())
    assert 0 < np.mean(covered) < 0.95


def test_ring_keeps_its_hole_empty() -> None:
    holes = 0
    for seed in range(12):
        _, matte, _ = drawn.sample(pen(seed), "ring")
        inside = np.array([matte[y, x] for y in range(40, 57) for x in range(40, 57)])
        holes += bool((inside == 0).any() and (matte > 200).any())
    assert holes >= 6


@pytest.mark.parametrize(("kind", "names"), [("outline", OUTLINES), ("figure", FIGURES)])
def test_held_out_shapes_never_occur_in_training(kind: str, names: tuple[str, ...]) -> None:
    held_out = set(drawn.HELD_OUT[kind])
    training = {pen(seed).choose(kind, names) for seed in range(200)}
    testing = {pen(seed, held_out=True).choose(kind, names) for seed in range(200)}
    assert testing == held_out
    assert training == set(names) - held_out


def test_held_out_fonts_are_fonts_of_ours() -> None:
    assert set(drawn.HELD_OUT["font"]) < set(FONT_PACKAGES.values())
