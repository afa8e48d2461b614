"""The quality benchmark scores what it sends, and its tables show its figures."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data as photos

from benchmarks import quality
from benchmarks.quality import Column, Photo, alpha_of, at_640, level_groups, measure, sheet, texture_crops
from models.scoring.benchmark import by_group
from models.scoring.segmentation import Scores
from tests.support.live_server import served

pytestmark = pytest.mark.timeout(300)


def column(name: str, iou: dict[str, float]) -> Column:
    scores = {stem: Scores(0.1, value, 0.9, 0.8) for stem, value in iou.items()}
    groups = by_group({f"g{stem}": [found] for stem, found in scores.items()})
    alphas = {stem: np.full((40, 60), 255, np.uint8) for stem in iou}
    result = {"name": name, "precision": "fp32"}
    return Column(name, result, groups, {}, 0.1, 0.0, 0.2, 1.4, scores, alphas)


def photo(stem: str) -> Photo:
    jpeg = cv2.imencode(".jpg", np.full((40, 60, 3), 128, np.uint8))[1].tobytes()
    return Photo(stem, f"g{stem}", jpeg, np.full((40, 60), 255, np.uint8))


def test_level_groups_tolerate_half_a_hundredth() -> None:
    ours = column("ours", {"a": 0.80, "b": 0.796, "c": 0.794, "d": 0.9})
    peer = column("u2netp", {"a": 0.80, "b": 0.80, "c": 0.80, "d": 0.8})
    assert level_groups(ours, peer) == 3
    assert level_groups(peer, peer) == 4


def test_sheet_begins_with_worst_images() -> None:
    shots = [photo("good"), photo("bad")]
    created = sheet(column("ours", {"good": 0.9, "bad": 0.1}), None, shots)
    assert created.shape == (2 * quality.CELL, 3 * quality.CELL, 3)
    shots[1].matte[:] = 0
    changed = sheet(column("ours", {"good": 0.9, "bad": 0.1}), None, shots)
    rows = np.abs(created.astype(int) - changed).sum(axis=(1, 2)) > 0
    assert rows[: quality.CELL].any()
    assert not rows[quality.CELL :].any()


def test_scores_use_side_640() -> None:
    assert at_640(np.full((960, 1280), 255, np.uint8)).shape == (480, 640)
    small = at_640(np.full((30, 20), 51, np.uint8))
    assert small.shape == (30, 20)
    assert small[0, 0] == pytest.approx(0.2)


def test_texture_crops_differ() -> None:
    crops = texture_crops()
    assert len(set(crops)) == 36
    assert cv2.imdecode(np.frombuffer(crops[0], np.uint8), cv2.IMREAD_COLOR).shape == (320, 320, 3)


def test_json_contains_every_figure() -> None:
    ours, peer = column("ours", {"a": 0.7}), column("u2netp", {"a": 0.8})
    found = quality.figures([ours, peer], peer)["models"]["ours"]
    assert found["groups"]["mean"] == {"mae": 0.1, "iou": 0.7, "s": 0.9, "bf": 0.8}
    assert found["groups_level_with_u2netp"] == 0
    assert found["subject_free_cut"] == 0.1
    assert found["bare_photos_cut"] == 0.2
    json.dumps(found)


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """Create a benchmark of one photo whose mask is the service's own result."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    jpeg = cv2.imencode(".jpg", photos.astronaut()[..., ::-1])[1].tobytes()
    (tmp_path / "images" / "one.jpg").write_bytes(jpeg)
    with served(model="clearcut-s", precision="fp32") as server:
        alpha = alpha_of(server, jpeg)
        with pytest.raises(RuntimeError, match="returned 400"):
            alpha_of(server, b"no image")
    assert alpha.shape == (512, 512)
    assert 0.2 < (alpha > 128).mean() < 0.9
    cv2.imwrite(str(tmp_path / "masks" / "one.png"), alpha)
    (tmp_path / "manifest.json").write_text(json.dumps([{"stem": "one", "source": "comp_white_ikea"}]))
    return tmp_path


@pytest.mark.live
def test_benchmark_of_own_result_is_perfect(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "empty_images", lambda: [quality._png(np.full((64, 64, 3), 127, np.uint8))])
    monkeypatch.setattr(quality, "texture_crops", lambda: [cv2.imencode(".png", photos.astronaut())[1].tobytes()])
    found = measure("clearcut-s:fp32", bench, list(quality.bench_photos(bench)), [])
    assert found.groups["mean"] == found.groups["comp_white_ikea"]
    mae, iou, s, bf = found.groups["mean"]
    assert (mae, iou, bf) == (0, 1, 1)
    assert s > 0.9  # a soft matte compared with itself cut at 0.5
    assert found.soft["comp_white_ikea"] == {"sad": 0, "mse": 0, "gradient": 0}
    assert found.served["precision"] == "fp32"
    assert found.textures == 1


def test_missing_benchmark_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["quality", "--data", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"no benchmark in .*DATA="):
        quality.main()
