"""Packing and sampling on a tiny generated pool, without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.training import augment, heaps, scenes, shapes
from models.training.data import PackWriter, Pool, alpha_box, is_held_out, unmix_white
from models.training.sampling import Mixture, Sampler
from models.training.subject_free import images


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    rng = np.random.default_rng(0)
    writer = PackWriter(tmp_path / "pool")
    for kind in ("photo", "pseudo", "cutout", "background"):
        for number in range(4):
            rgb = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
            alpha = np.zeros((60, 80), np.uint8)
            if kind != "background":
                alpha[15:45, 20:60] = 255
            writer.add(rgb, alpha, f"{kind}{number}", kind, kind)
    writer.close()
    return Pool(tmp_path / "pool")


def test_pack_round_trip(tmp_path: Path) -> None:
    rgb = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    alpha = np.full((5, 7), 200, np.uint8)
    writer = PackWriter(tmp_path / "one")
    writer.add(rgb, alpha, "a", "s", "photo")
    writer.close()
    pool = Pool(tmp_path / "one")
    assert len(pool) == 1
    assert pool[0].shape == (5, 7, 4)
    np.testing.assert_array_equal(pool[0][..., :3], rgb)
    np.testing.assert_array_equal(pool[0][..., 3], alpha)


def test_later_pack_replaces_image_of_same_stem(tmp_path: Path) -> None:
    for name, kind in (("one", "background"), ("two", "pseudo")):
        writer = PackWriter(tmp_path / name)
        writer.add(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), "same", "s", kind)
        writer.close()
    assert [r.kind for r in Pool(tmp_path / "one", tmp_path / "two").records] == ["pseudo"]


@pytest.mark.parametrize("kind", ["photo", "pseudo", "composite", "negative", "plain"])
def test_sample_depends_only_on_seed_and_number(pool: Pool, kind: str) -> None:
    shares = dict.fromkeys(("photo", "pseudo", "composite", "negative"), 0.0) | {kind: 1.0}
    first, second = (Sampler(pool, Mixture(**shares), seed=3) for _ in range(2))
    second(0, 64)
    for number in (5, 6):
        rgb, matte = first(number, 64)
        again, matte_again = second(number, 64)
        assert rgb.shape == (64, 64, 3)
        assert matte.shape == (64, 64)
        assert rgb.dtype == matte.dtype == np.uint8
        np.testing.assert_array_equal(rgb, again)
        np.testing.assert_array_equal(matte, matte_again)
        assert (matte.max() == 0) == (kind in ("negative", "plain"))
        assert first.kind(number) == kind


def test_kind_without_share_does_not_change_others(pool: Pool) -> None:
    sampler = Sampler(pool, Mixture(), seed=5)
    drawn = [np.random.default_rng((5, i)).choice(5, p=[0.28, 0.26, 0.38, 0.08, 0]) for i in range(200)]
    kinds = ("photo", "pseudo", "composite", "negative", "render")
    assert [sampler.kind(i) for i in range(200)] == [kinds[each] for each in drawn]


def test_part_beside_the_subject_has_no_pixel_of_it() -> None:
    rgba = np.zeros((300, 400, 4), np.uint8)
    rgba[100:250, 150:260] = 255
    rng = np.random.default_rng(4)
    for _ in range(50):
        part = augment.beside(rgba, alpha_box(rgba[..., 3]), rng)
        assert part is not None
        assert part.max() == 0
        assert min(part.shape[:2]) >= 96
        assert max(part.shape[:2]) <= 2 * min(part.shape[:2])
    assert augment.beside(rgba, (60, 60, 340, 240), rng) is None


def test_negative_can_be_a_part_of_a_photo(tmp_path: Path) -> None:
    writer = PackWriter(tmp_path / "pool")
    for kind, left in (("photo", (0, 0, 200)), ("background", (0, 200, 0))):
        rgb = np.full((300, 400, 3), left, np.uint8)
        alpha = np.zeros((300, 400), np.uint8)
        if kind == "photo":
            rgb[:, 200:], alpha[:, 200:] = (200, 0, 0), 255
        writer.add(rgb, alpha, kind, kind, kind)
    writer.close()
    sampler = Sampler(Pool(tmp_path / "pool"), Mixture(photo=0, pseudo=0, composite=0, negative=1, beside=1), seed=1)
    for number in range(8):
        rgb, matte = sampler(number, 64)
        assert matte.max() == 0
        assert rgb[..., 2].mean() > 2 * max(rgb[..., 0].mean(), rgb[..., 1].mean())


@pytest.mark.parametrize("kind", ["photo", "pseudo", "composite", "drawn"])
def test_close_up_shows_the_subject_larger(pool: Pool, kind: str) -> None:
    if kind == "drawn":
        pytest.importorskip("fonts", reason="the fonts of the training environment are not installed")
    shares = dict.fromkeys(("photo", "pseudo", "composite", "negative"), 0.0) | {kind: 1.0}
    whole = Sampler(pool, Mixture(**shares), seed=3)
    close = Sampler(pool, Mixture(**shares, close_up=1.0), seed=3)
    areas = [[float((sampler(i, 96)[1] > 127).mean()) for i in range(12)] for sampler in (whole, close)]
    assert np.mean(areas[1]) > 1.2 * np.mean(areas[0])


def test_close_up_contains_the_box_and_its_margin() -> None:
    rgba = np.zeros((200, 300, 4), np.uint8)
    rgba[80:120, 100:180] = 255
    for seed in range(20):
        part = augment.close_up(rgba, (100, 80, 180, 120), np.random.default_rng(seed))
        assert int((part[..., 3] > 0).sum()) == 40 * 80
        assert 40 * 1.15 < part.shape[0] < 40 * 2
        assert 80 * 1.15 < part.shape[1] < 80 * 2
    assert augment.close_up(rgba, (0, 0, 10, 100), np.random.default_rng(0)) is rgba


def test_split_is_stable_and_close_to_share() -> None:
    held = [is_held_out(f"stem{i}") for i in range(5000)]
    assert held == [is_held_out(f"stem{i}") for i in range(5000)]
    assert 0.03 < np.mean(held) < 0.05


def test_alpha_box() -> None:
    alpha = np.zeros((10, 20), np.uint8)
    assert alpha_box(alpha) == (0, 0, 0, 0)
    alpha[2:5, 7:11] = 255
    assert alpha_box(alpha) == (7, 2, 11, 5)


def test_unmixing_white_recovers_object_color() -> None:
    alpha = np.full((2, 2), 128, np.uint8)
    a = 128 / 255
    seen = np.full((2, 2, 3), round(40 * a + 255 * (1 - a)), np.uint8)
    assert abs(int(unmix_white(seen, alpha)[0, 0, 0]) - 40) <= 2


@pytest.mark.parametrize("number", range(12))
def test_scenes_and_shapes_have_expected_array_shapes(number: int) -> None:
    rng = np.random.default_rng(number)
    assert scenes.empty_scene(48, rng).shape == (48, 48, 3)
    drawn = shapes.shape(48, rng)
    assert drawn.shape == (48, 48, 4)
    assert drawn.dtype == np.uint8


def test_subject_free_images_are_reproducible() -> None:
    first, second = (next(iter(images([]))) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.ndim == 3


def test_pack_without_held_out_images(tmp_path: Path) -> None:
    stem = next(f"s{i}" for i in range(1000) if is_held_out(f"s{i}"))
    rgb, alpha = np.zeros((5, 7, 3), np.uint8), np.full((5, 7), 200, np.uint8)
    for hold_out in (True, False):
        writer = PackWriter(tmp_path / "one", hold_out=hold_out)
        writer.add(rgb, alpha, stem, "s", "photo")
        writer.save_index()
        assert [record.held_out for record in Pool(tmp_path / "one").records] == [hold_out]
        writer.add(rgb, alpha, "another", "s", "photo")
        writer.close()
        assert len(Pool(tmp_path / "one")) == 2


@pytest.mark.parametrize("seed", range(12))
def test_heap_covers_the_whole_image(seed: int) -> None:
    cutout = np.full((30, 40, 4), (200, 40, 90, 255), np.uint8)
    rgb = heaps.heap(96, np.random.default_rng(seed), lambda: cutout)
    assert rgb.shape == (96, 96, 3)
    assert rgb.dtype == np.uint8
    corners = [rgb[y : y + 48, x : x + 48] for y in (0, 48) for x in (0, 48)]
    assert all(corner.std() > 1 for corner in corners)  # objects in every quarter
    np.testing.assert_array_equal(rgb, heaps.heap(96, np.random.default_rng(seed), lambda: cutout))
