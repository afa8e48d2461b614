"""Further folders of photos: labels, the held-out pack and backgrounds, without torch."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.training import data_extra
from models.training.data import Pool, is_held_out
from models.training.photo_files import folder_photos

STEMS = [f"group__{letter}{other}_{view}" for letter in "abcdefgh" for other in "xyz" for view in range(3)]


def matte(box: tuple[int, int, int, int]) -> np.ndarray:
    """A matte u8[60,80] with one opaque box (left, top, right, bottom)."""
    alpha = np.zeros((60, 80), np.uint8)
    alpha[box[1] : box[3], box[0] : box[2]] = 255
    return alpha


@pytest.fixture
def packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Pool]:
    stems = STEMS
    for folder in ("photos/images", "places/images", "labels", "votes"):
        (tmp_path / folder).mkdir(parents=True)
    photo = np.full((60, 80, 3), 90, np.uint8)
    for number, stem in enumerate(stems):
        cv2.imwrite(str(tmp_path / "photos/images" / f"{stem}.jpg"), photo)
        if number:  # the first photo has no label
            cv2.imwrite(str(tmp_path / "labels" / f"{stem}.png"), matte((10, 10, 50, 50)))
        vote = (50, 10, 70, 50) if number == 1 else (10, 10, 50, 50)
        cv2.imwrite(str(tmp_path / "votes" / f"{stem}.png"), matte(vote))
    for name, box in (("interior_a__1", (0, 0, 40, 40)), ("place_a__1", (0, 0, 0, 0))):
        cv2.imwrite(str(tmp_path / "places/images" / f"{name}.jpg"), photo)
        cv2.imwrite(str(tmp_path / "votes" / f"{name}.png"), matte(box))
    (tmp_path / "empty/images").mkdir(parents=True)
    for number in range(40):
        cv2.imwrite(str(tmp_path / "empty/images" / f"place_b__{number // 2}_c{number % 2}.jpg"), photo)
    folders = ["--photos", "photos", "--backgrounds", "places", "--empty", "empty"]
    arguments = [*folders, "--labels", "labels", "--votes", "votes", "--out", "extra"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["data_extra", *arguments])
    data_extra.main()
    return {name: Pool(tmp_path / name) for name in ("extra", "extra-held")}


def test_held_out_photos_are_in_their_own_pack(packs: dict[str, Pool]) -> None:
    held = {record.stem for record in packs["extra-held"].records}
    assert held
    assert held == {stem for stem in STEMS[2:] if data_extra.is_kept_from_training(stem)}
    assert not held & {record.stem for record in packs["extra"].records}
    assert not any(record.held_out for record in packs["extra"].records if record.kind == "pseudo")


def test_views_of_one_object_are_held_out_together() -> None:
    names = [f"group__object{letter}{other}" for letter in "abcdefghij" for other in "abcdefghij"]
    held = [name for name in names if is_held_out(name, data_extra.HELD_OUT)]
    assert held
    assert all(data_extra.is_kept_from_training(f"{name}_{view:02d}") for name in held for view in range(4))


def test_disagreeing_teachers_lower_the_weight(packs: dict[str, Pool]) -> None:
    weights = {record.stem: record.weight for record in packs["extra"].records if record.kind == "pseudo"}
    assert STEMS[0] not in weights
    assert weights[STEMS[1]] == 0.3
    assert {weight for stem, weight in weights.items() if stem != STEMS[1]} == {1.0}


def test_backgrounds_with_a_detected_subject_are_backdrops(packs: dict[str, Pool]) -> None:
    found = {r.stem: (r.kind, r.source) for r in packs["extra"].records if r.stem in ("interior_a__1", "place_a__1")}
    assert found == {"interior_a__1": ("backdrop", "interior"), "place_a__1": ("background", "place")}


def test_photos_of_a_folder_are_listed_by_name(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("b__2.jpg", "a__1.jpg", "notes.txt"):
        (tmp_path / "images" / name).write_bytes(b"")
    assert [stem for stem, _ in folder_photos([tmp_path])] == ["a__1", "b__2"]


def test_empty_photos_are_backgrounds_and_split_by_original(packs: dict[str, Pool]) -> None:
    held = {r.stem: r.held_out for r in packs["extra"].records if r.stem.startswith("place_b")}
    assert {r.kind for r in packs["extra"].records if r.stem in held} == {"background"}
    assert 0 < sum(held.values()) < len(held) == 40
    assert all(held[stem] == held[stem.replace("_c1", "_c0")] for stem in held)
