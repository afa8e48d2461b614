"""Autotuning: the chosen plan, the warmed batch sizes, and the refused models."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from clearcut.errors import StartupError
from clearcut.imaging.types import InputSpec
from clearcut.inference.model_files import ModelFile, load_model
from clearcut.inference.providers import Device
from clearcut.inference.session import OnnxEngine, OutOfDeviceMemory
from clearcut.inference.startup import autotune
from clearcut.inference.startup.autotune import load_engines
from clearcut.inference.startup.self_test import golden_input
from clearcut.inference.types import F32
from tests.support.onnx_models import MIXED, NAN, ONLY_ONE, SIDE, ModelMaker, golden_table

SPEC = InputSpec(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
OFF_GRID = "[models.tiny.golden]\ntolerance = 0.02\ngrid = [" + "[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]," * 8 + "]\n"


def valid_model(models: ModelMaker, **fields: object) -> ModelFile:
    """A small model with its correct golden output."""
    folder = models(**fields)
    with (folder / "manifest.toml").open("a") as manifest:
        manifest.write(golden_table(load_model("tiny", folder)))
    return load_model("tiny", folder)


class FakeTimeEngine:
    """An engine with fixed durations: each run advances the clocks of the measurement."""

    now = 0.0
    spent = threading.local()
    """Clock of each thread, which other threads do not advance."""

    def __init__(self, real: OnnxEngine, durations: dict[int, float]) -> None:
        self._real = real
        self._durations = durations
        self.ran: list[int] = []

    def warm(self, batch: F32) -> F32:
        if batch.shape[0] not in self._durations:
            raise OutOfDeviceMemory("Failed to allocate memory")
        return self._real.warm(batch)

    def run(self, batch: F32) -> F32:
        seconds = self._durations[batch.shape[0]]
        FakeTimeEngine.now += seconds
        FakeTimeEngine.spent.s = getattr(FakeTimeEngine.spent, "s", 0.0) + seconds
        self.ran.append(batch.shape[0])
        return self._real.run(batch)


def fake_time_engines(durations: dict[int, dict[int, float]], monkeypatch: pytest.MonkeyPatch) -> autotune.EngineMaker:
    """Engines with runs of durations[threads][bucket] seconds."""

    class Time:
        @staticmethod
        def perf_counter() -> float:
            return getattr(FakeTimeEngine.spent, "s", 0.0)

        @staticmethod
        def monotonic() -> float:
            return FakeTimeEngine.now

    monkeypatch.setattr(autotune, "time", Time)

    def make(model: ModelFile, device: Device, threads: int) -> FakeTimeEngine:
        return FakeTimeEngine(OnnxEngine(model, "cpu", 1), durations[threads])

    return make


def test_requested_plan_is_used(models: ModelMaker) -> None:
    loaded = load_engines(valid_model(models), "cpu", lanes=2, intra_op_threads=1, buckets=(4, 2))
    assert (loaded.plan.lanes, loaded.plan.intra_op_threads, loaded.plan.buckets) == (2, 1, (1, 2, 4))
    assert len(loaded.engines) == 2
    assert set(loaded.plan.cost_s) == {1, 2, 4}
    image = golden_input(SPEC, 1)
    for engine in loaded.engines:
        for bucket in (1, 2, 4):
            assert engine.run(np.repeat(image[None], bucket, axis=0)).shape == (bucket, 16, 16)


@pytest.mark.parametrize(
    ("cpus", "lanes", "threads", "expected"),
    [(8, 2, 0, (2, 4)), (8, 0, 2, (4, 2)), (1, 0, 0, (1, 1)), (1, 3, 0, (3, 1))],
)
def test_missing_number_is_derived(
    models: ModelMaker, cpus: int, lanes: int, threads: int, expected: tuple[int, int]
) -> None:
    plan = load_engines(valid_model(models), "cpu", lanes=lanes, intra_op_threads=threads, buckets=(1,), cpus=cpus).plan
    assert (plan.lanes, plan.intra_op_threads) == expected


def test_parallel_sessions_if_faster(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = fake_time_engines({1: {1: 0.011}, 2: {1: 0.0064}}, monkeypatch)  # 182 against 156 images/s
    plan = load_engines(valid_model(models), "cpu", cpus=2, buckets=(1,), make_engine=maker).plan
    assert (plan.lanes, plan.intra_op_threads) == (2, 1)
    assert plan.images_per_s == pytest.approx(2 / 0.011)


def test_one_session_if_nearly_as_fast(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = fake_time_engines({1: {1: 0.0125}, 2: {1: 0.0064}}, monkeypatch)  # 160 against 156 images/s
    plan = load_engines(valid_model(models), "cpu", cpus=2, buckets=(1,), make_engine=maker).plan
    assert (plan.lanes, plan.intra_op_threads) == (1, 2)


def test_batches_are_used_only_if_faster(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = fake_time_engines({1: {1: 0.010, 2: 0.015, 4: 0.0295, 8: 0.01}}, monkeypatch)
    plan = load_engines(valid_model(models), "cpu", cpus=1, make_engine=maker).plan
    assert plan.buckets == (1, 2)  # 4 is 2 % faster, so 8 is not measured
    assert plan.cost_s == pytest.approx({1: 0.010, 2: 0.015})


def test_slow_batches_are_not_measured(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = fake_time_engines({1: {1: 0.4}}, monkeypatch)
    plan = load_engines(valid_model(models), "cpu", cpus=1, make_engine=maker).plan
    assert plan.buckets == (1,)
    assert "not measured" in plan.notes[0]


def test_slow_model_is_measured_in_one_layout(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = fake_time_engines({2: {1: 1.5}}, monkeypatch)
    plan = load_engines(valid_model(models), "cpu", cpus=2, make_engine=maker).plan
    assert (plan.lanes, plan.intra_op_threads) == (1, 2)
    assert "2 sessions of 1 threads were not measured" in plan.notes[0]


def test_failing_self_test_is_refused(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bool:
        raise ValueError("the model's output has values that are not finite")

    monkeypatch.setattr(autotune, "batch_equals_singles", broken)
    with pytest.raises(StartupError, match=r"fails its self-test.*not finite"):
        load_engines(valid_model(models), "cpu", lanes=1, buckets=(1, 2))


def test_wrong_batches_are_disabled(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autotune, "MIN_SPEEDUP", 0.0)  # accept larger batches at any speed
    plan = load_engines(valid_model(models, nodes=MIXED), "cpu", lanes=1).plan
    assert plan.buckets == (1,)
    assert set(plan.cost_s) == {1}
    assert any("batches are disabled" in note for note in plan.notes)


def test_wrong_requested_batches_are_refused(models: ModelMaker) -> None:
    with pytest.raises(StartupError, match="CLEARCUT_BUCKETS"):
        load_engines(valid_model(models, nodes=MIXED), "cpu", lanes=1, buckets=(1, 2, 4))


def test_failing_batches_are_disabled(models: ModelMaker) -> None:
    plan = load_engines(valid_model(models, nodes=ONLY_ONE), "cpu", lanes=1, buckets=(1, 2, 4)).plan
    assert plan.buckets == (1,)
    assert "batches of 2 and more are disabled" in plan.notes[0]


def test_wrong_golden_output_is_refused(models: ModelMaker) -> None:
    model = load_model("tiny", models(golden=OFF_GRID))
    with pytest.raises(StartupError, match=r"fails its self-test.*differs by 0"):
        load_engines(model, "cpu", lanes=1, buckets=(1,))


def test_missing_golden_output_is_refused(models: ModelMaker) -> None:
    with pytest.raises(StartupError, match=r"no golden output.*models pin tiny"):
        load_engines(load_model("tiny", models()), "cpu", lanes=1, buckets=(1,))


def test_failing_first_run_is_refused(models: ModelMaker) -> None:
    with pytest.raises(StartupError, match=r"fails its first run.*not finite"):
        load_engines(load_model("tiny", models(nodes=NAN)), "cpu", lanes=1)


def test_impossible_batch_size_is_refused(models: ModelMaker) -> None:
    with pytest.raises(StartupError, match="Batch size 16 is not possible: model 'tiny' accepts 1 to 8"):
        load_engines(load_model("tiny", models()), "cpu", buckets=(1, 16))


class TestGpu:
    """The choices for a GPU, with engines that run on the CPU."""

    @pytest.fixture(autouse=True)
    def gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(autotune, "choose_device", lambda requested: "cuda" if requested == "auto" else requested)

    def test_one_session_uses_all_batch_sizes(self, models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
        maker = fake_time_engines({1: {1: 0.003, 2: 0.004, 4: 0.008, 8: 0.016}}, monkeypatch)
        plan = load_engines(valid_model(models), "auto", make_engine=maker).plan
        assert (plan.device, plan.lanes, plan.buckets) == ("cuda", 1, (1, 2, 4, 8))

    def test_batch_that_does_not_fit_ends_the_list(self, models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
        maker = fake_time_engines({1: {1: 0.003, 2: 0.004}}, monkeypatch)
        plan = load_engines(valid_model(models), "cuda", make_engine=maker).plan
        assert plan.buckets == (1, 2)
        assert "batches of 4 and more are disabled: Failed to allocate" in plan.notes[0]

    def test_auto_falls_back_to_cpu_with_a_note(self, models: ModelMaker) -> None:
        def maker(model: ModelFile, device: Device, threads: int) -> OnnxEngine:
            if device != "cpu":
                raise StartupError("the driver is too old")
            return OnnxEngine(model, device, threads)

        model = valid_model(models)
        plan = load_engines(model, "auto", lanes=1, make_engine=maker).plan
        assert plan.device == "cpu"
        assert plan.notes[0] == "running on the CPU: the driver is too old"
        with pytest.raises(StartupError, match="too old"):
            load_engines(model, "cuda", make_engine=maker)


def test_small_model_has_its_golden_output() -> None:
    loaded = load_engines(load_model("clearcut-s"), "cpu", lanes=1, intra_op_threads=1, buckets=(1, 2))
    assert loaded.plan.buckets == (1, 2), loaded.plan.notes
    assert loaded.plan.notes == ()
    plan = loaded.plan.to_dict()
    assert json.loads(json.dumps(plan)) == plan
    assert plan["lanes"] == 1


def test_golden_image_has_a_figure() -> None:
    first, second = golden_input(SPEC), golden_input(SPEC, 1)
    assert first.shape == (3, 16, 16)
    assert first.dtype == np.float32
    assert np.abs(first).max() <= 2.0
    assert float(first[0].max() - first[0].min()) > 1.0
    assert not np.array_equal(first, second)
