"""A cached plan is reused on the next start, and only while it works."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from clearcut.environment import load_settings
from clearcut.errors import StartupError
from clearcut.inference.startup import load as startup_load
from clearcut.inference.startup.load import load_configured_model, load_served_models
from clearcut.inference.startup.precision import further_precision
from clearcut.system import SchedulingPolicy, threads_with_policy

QUICK = {"CLEARCUT_MODEL": "clearcut-s", "CLEARCUT_LANES": "1", "CLEARCUT_BUCKETS": "1", "CLEARCUT_PRECISION": "fp32"}

POLICIES: tuple[SchedulingPolicy, ...] = ("SCHED_BATCH", "SCHED_IDLE")


def test_second_start_uses_cached_plan(tmp_path: Path) -> None:
    settings = load_settings({"CLEARCUT_MODEL": "clearcut-s", "CLEARCUT_PLAN_CACHE": str(tmp_path / "plans")})
    model, first = load_configured_model(settings)
    (cached,) = (tmp_path / "plans").iterdir()
    content = json.loads(cached.read_text())
    assert content["choice"]["lanes"] == first.plan.lanes
    assert content["choice"]["precision"] == model.entry.precision
    # The plan comes from the file, not from another measurement.
    content["choice"] |= {"lanes": 3, "intra_op_threads": 1, "buckets": [1, 2], "images_per_s": 1e9}
    cached.write_text(json.dumps(content))
    _, second = load_configured_model(settings)
    assert (second.plan.lanes, second.plan.buckets) == (3, (1, 2))
    # A plan that does not work is measured again.
    content["choice"] |= {"buckets": [1, 99_999]}
    cached.write_text(json.dumps(content))
    _, third = load_configured_model(settings)
    assert 99_999 not in third.plan.buckets
    assert json.loads(cached.read_text())["choice"]["buckets"] == list(third.plan.buckets)


def test_plan_of_busy_machine_is_measured_again(tmp_path: Path) -> None:
    settings = load_settings({**QUICK, "CLEARCUT_LANES": "0", "CLEARCUT_PLAN_CACHE": str(tmp_path)})
    load_configured_model(settings)
    (cached,) = tmp_path.iterdir()
    content = json.loads(cached.read_text())
    content["choice"] |= {"lanes": 3, "images_per_s": 0.1}
    cached.write_text(json.dumps(content))
    _, loaded = load_configured_model(settings)
    stored = json.loads(cached.read_text())["choice"]
    assert stored["lanes"] == loaded.plan.lanes != 3
    assert stored["images_per_s"] == loaded.plan.images_per_s


def test_no_folder_stores_nothing(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    load_configured_model(load_settings(QUICK))
    assert list(tmp_path.iterdir()) == []


def test_cpu_plan_is_not_used_on_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = tmp_path / "plans"
    environ = {"CLEARCUT_MODEL": "clearcut-s", "CLEARCUT_PRECISION": "fp32", "CLEARCUT_PLAN_CACHE": str(plans)}
    settings = load_settings(environ)
    load_configured_model(settings)
    before = {path.name: path.read_bytes() for path in plans.iterdir()}
    calls: list[dict[str, object]] = []
    monkeypatch.setattr(startup_load, "choose_device", lambda _: "cuda")
    monkeypatch.setattr(startup_load, "load_best", lambda *_, **options: (None, calls.append(options)))
    load_configured_model(settings)  # the same settings on a machine with a GPU
    assert [(each["lanes"], each["buckets"]) for each in calls] == [(0, ())]
    assert {path.name: path.read_bytes() for path in plans.iterdir()} == before


def test_check_stores_nothing(tmp_path: Path) -> None:
    plans = tmp_path / "plans"
    load_configured_model(load_settings(QUICK | {"CLEARCUT_PLAN_CACHE": str(plans)}), save_plan=False)
    assert not plans.exists()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each model takes 50 MiB more than the one before. Memory of earlier tests would change a real measurement."""
    sizes = itertools.count(50 << 20, 50 << 20)

    @contextmanager
    def peak_memory() -> Iterator[list[int]]:
        yield [next(sizes)]

    monkeypatch.setattr(startup_load, "peak_memory", peak_memory)


@pytest.mark.usefixtures("measured")
def test_further_models_have_their_own_plan_and_memory() -> None:
    settings = load_settings(QUICK | {"CLEARCUT_MODELS": "clearcut-m,clearcut-s", "CLEARCUT_BUCKETS": "1,2"})
    default, further = load_served_models(settings)
    assert [each.entry.name for each in (default, further)] == ["clearcut-s", "clearcut-m"]
    assert further.plan.lanes == 1
    assert (default.memory_bytes, further.memory_bytes) == (50 << 20, 100 << 20)
    assert further.path.name == "clearcut-m.onnx"


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="a scheduling policy of Linux")
@pytest.mark.parametrize(("factor", "policy"), [(1e6, "SCHED_BATCH"), (0, "SCHED_IDLE")])
def test_slow_further_model_gets_idle_time_only(
    monkeypatch: pytest.MonkeyPatch, factor: float, policy: SchedulingPolicy
) -> None:
    monkeypatch.setattr(startup_load, "SLOW_FACTOR", factor)
    before = {name: threads_with_policy(name) for name in POLICIES}
    settings = load_settings(QUICK | {"CLEARCUT_MODELS": "clearcut-m", "CLEARCUT_INTRA_OP_THREADS": "4"})
    default, further = load_served_models(settings)
    started = {name: len(threads_with_policy(name) - before[name]) for name in POLICIES}
    # The thread that runs the session, and the second thread of a run. The threads of the default model are normal.
    assert started == dict.fromkeys(POLICIES, 0) | {policy: 2}
    for model in (default, further):
        side = model.entry.input.side
        assert model.engines[0].run(np.zeros((1, 3, side, side), np.float32)).shape == (1, side, side)


@pytest.mark.parametrize(
    ("name", "requested", "used"),
    [
        ("clearcut-m", "auto", "auto"),
        ("clearcut-m", "fp32", "fp32"),
        ("clearcut-m", "int8", "int8"),
        ("isnet-general-use", "int8", "fp32"),  # it has no such variant
        ("u2netp", "int8", "fp32"),  # it has one, which must be made, and the file does not exist
    ],
)
def test_further_model_uses_the_requested_precision(tmp_path: Path, name: str, requested: str, used: str) -> None:
    assert further_precision(name, requested, tmp_path) == used  # type: ignore[arg-type]


@pytest.mark.usefixtures("measured")
def test_models_beyond_the_memory_limit_are_refused() -> None:
    settings = load_settings(QUICK | {"CLEARCUT_MODEL_MEMORY_MB": "49"})
    with pytest.raises(StartupError, match=r"need 50 MiB \(clearcut-s 50\), and the limit is 49 MiB"):
        load_served_models(settings)
    # The manifest has the memory of ISNet, so the service does not load its file first.
    settings = load_settings(QUICK | {"CLEARCUT_MODEL_MEMORY_MB": "1000", "CLEARCUT_MODELS": "isnet-general-use"})
    with pytest.raises(StartupError, match=r"isnet-general-use 1100\), and the limit is 1000 MiB"):
        load_served_models(settings)


def test_unknown_further_model_is_refused() -> None:
    with pytest.raises(StartupError, match="Unknown model 'u3net'"):
        load_served_models(load_settings(QUICK | {"CLEARCUT_MODELS": "u3net"}))
