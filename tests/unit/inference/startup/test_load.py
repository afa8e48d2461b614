"""From settings to engines: an earlier start's choice is used, and no longer than it serves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clearcut.environment import load_settings
from clearcut.inference.startup import load as startup_load
from clearcut.inference.startup.load import load_configured_model


def test_the_second_start_does_what_the_first_one_chose(tmp_path: Path) -> None:
    settings = load_settings({"CLEARCUT_MODEL": "clearcut-s", "CLEARCUT_PLAN_CACHE": str(tmp_path / "plans")})
    model, first = load_configured_model(settings)
    (kept,) = (tmp_path / "plans").iterdir()
    content = json.loads(kept.read_text())
    assert content["choice"]["lanes"] == first.plan.lanes
    assert content["choice"]["precision"] == model.entry.precision
    # what is in the file decides, not another measurement
    content["choice"] |= {"lanes": 3, "intra_op_threads": 1, "buckets": [1, 2]}
    kept.write_text(json.dumps(content))
    _, second = load_configured_model(settings)
    assert (second.plan.lanes, second.plan.buckets) == (3, (1, 2))
    # and when it cannot be done it is chosen anew
    content["choice"] |= {"buckets": [1, 99_999]}
    kept.write_text(json.dumps(content))
    _, third = load_configured_model(settings)
    assert 99_999 not in third.plan.buckets
    assert json.loads(kept.read_text())["choice"]["buckets"] == list(third.plan.buckets)


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    load_configured_model(load_settings({"CLEARCUT_MODEL": "clearcut-s"}))
    assert list(tmp_path.iterdir()) == []


def test_what_a_cpu_chose_is_not_used_on_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = tmp_path / "plans"
    settings = load_settings({"CLEARCUT_MODEL": "clearcut-s", "CLEARCUT_PLAN_CACHE": str(plans)})
    load_configured_model(settings)
    before = {path.name: path.read_bytes() for path in plans.iterdir()}
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(startup_load, "choose_device", lambda _: "cuda")
    monkeypatch.setattr(startup_load, "load_best", lambda *_, **options: (None, asked.append(options)))
    load_configured_model(settings)  # the same settings, started where a GPU is
    assert [(each["lanes"], each["buckets"]) for each in asked] == [(0, ())]
    assert {path.name: path.read_bytes() for path in plans.iterdir()} == before


def test_looking_keeps_nothing(tmp_path: Path) -> None:
    plans = tmp_path / "plans"
    load_configured_model(
        load_settings({"CLEARCUT_MODEL": "clearcut-s", "CLEARCUT_PLAN_CACHE": str(plans)}), save_plan=False
    )
    assert not plans.exists()
