"""Loading for service: what is chosen, what is warmed, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from clearcut.errors import StartupError
from clearcut.imaging.types import InputSpec
from clearcut.inference.model_files import ModelFile, load_model
from clearcut.inference.providers import Device
from clearcut.inference.session import OnnxEngine, OutOfDeviceMemory
from clearcut.inference.startup import autotune as plan_module
from clearcut.inference.startup.autotune import load_engines
from clearcut.inference.startup.self_test import golden_input, golden_table
from clearcut.inference.types import F32
from tests.support.onnx_models import MIXED, NAN, ONLY_ONE, SIDE, ModelMaker

SPEC = InputSpec(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
OFF_GRID = "[models.tiny.golden]\ntolerance = 0.02\ngrid = [" + "[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]," * 8 + "]\n"


def sound(models: ModelMaker, **facts: object) -> ModelFile:
    """A tiny model whose golden facts are its own."""
    folder = models(**facts)
    with (folder / "manifest.toml").open("a") as manifest:
        manifest.write(golden_table(load_model("tiny", folder)))
    return load_model("tiny", folder)


class PricedEngine:
    """An engine with a price list in place of time: the clocks of the plan are moved by each run."""

    now = 0.0
    spent = threading.local()
    """Each thread has its own clock to measure by: what runs beside it takes none of its time."""

    def __init__(self, real: OnnxEngine, price: dict[int, float]) -> None:
        self._real = real
        self._price = price
        self.ran: list[int] = []

    def warm(self, batch: F32) -> F32:
        if batch.shape[0] not in self._price:
            raise OutOfDeviceMemory("Failed to allocate memory")
        return self._real.warm(batch)

    def run(self, batch: F32) -> F32:
        price = self._price[batch.shape[0]]
        PricedEngine.now += price
        PricedEngine.spent.s = getattr(PricedEngine.spent, "s", 0.0) + price
        self.ran.append(batch.shape[0])
        return self._real.run(batch)


def priced(prices: dict[int, dict[int, float]], monkeypatch: pytest.MonkeyPatch) -> plan_module.EngineMaker:
    """Engines whose runs cost prices[threads][bucket]."""

    class Time:
        @staticmethod
        def perf_counter() -> float:
            return getattr(PricedEngine.spent, "s", 0.0)

        @staticmethod
        def monotonic() -> float:
            return PricedEngine.now

    monkeypatch.setattr(plan_module, "time", Time)

    def make(model: ModelFile, device: Device, threads: int) -> PricedEngine:
        return PricedEngine(OnnxEngine(model, "cpu", 1), prices[threads])

    return make


def test_given_numbers_are_taken(models: ModelMaker) -> None:
    loaded = load_engines(sound(models), "cpu", lanes=2, intra_op_threads=1, buckets=(4, 2))
    assert (loaded.plan.lanes, loaded.plan.intra_op_threads, loaded.plan.buckets) == (2, 1, (1, 2, 4))
    assert len(loaded.engines) == 2
    assert set(loaded.plan.cost_s) == {1, 2, 4}
    picture = golden_input(SPEC, 1)
    for engine in loaded.engines:
        for bucket in (1, 2, 4):
            assert engine.run(np.repeat(picture[None], bucket, axis=0)).shape == (bucket, 16, 16)


@pytest.mark.parametrize(
    ("cpus", "lanes", "threads", "expected"),
    [(8, 2, 0, (2, 4)), (8, 0, 2, (4, 2)), (1, 0, 0, (1, 1)), (1, 3, 0, (3, 1))],
)
def test_what_is_not_given_follows(
    models: ModelMaker, cpus: int, lanes: int, threads: int, expected: tuple[int, int]
) -> None:
    plan = load_engines(sound(models), "cpu", lanes=lanes, intra_op_threads=threads, buckets=(1,), cpus=cpus).plan
    assert (plan.lanes, plan.intra_op_threads) == expected


def test_side_by_side_when_that_gives_more(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = priced({1: {1: 0.011}, 2: {1: 0.0064}}, monkeypatch)  # 182 against 156 images/s
    plan = load_engines(sound(models), "cpu", cpus=2, buckets=(1,), make_engine=maker).plan
    assert (plan.lanes, plan.intra_op_threads) == (2, 1)
    assert plan.images_per_s == pytest.approx(2 / 0.011)


def test_one_session_when_nearly_as_fast_for_its_latency(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = priced({1: {1: 0.0125}, 2: {1: 0.0064}}, monkeypatch)  # 160 against 156 images/s
    plan = load_engines(sound(models), "cpu", cpus=2, buckets=(1,), make_engine=maker).plan
    assert (plan.lanes, plan.intra_op_threads) == (1, 2)


def test_batches_are_kept_only_while_they_pay(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = priced({1: {1: 0.010, 2: 0.015, 4: 0.0295, 8: 0.01}}, monkeypatch)
    plan = load_engines(sound(models), "cpu", cpus=1, make_engine=maker).plan
    assert plan.buckets == (1, 2)  # four bring 2 % more; eight are not tried any more
    assert plan.cost_s == pytest.approx({1: 0.010, 2: 0.015})


def test_batches_beyond_the_time_at_start_are_not_tried(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = priced({1: {1: 0.4}}, monkeypatch)
    plan = load_engines(sound(models), "cpu", cpus=1, make_engine=maker).plan
    assert plan.buckets == (1,)
    assert "not tried" in plan.notes[0]


def test_a_slow_model_is_tried_in_one_shape_only(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = priced({2: {1: 1.5}}, monkeypatch)
    plan = load_engines(sound(models), "cpu", cpus=2, make_engine=maker).plan
    assert (plan.lanes, plan.intra_op_threads) == (1, 2)
    assert "2 sessions of 1 threads were not tried" in plan.notes[0]


def test_a_self_test_that_cannot_run_refuses_to_start(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bool:
        raise ValueError("the model's answer has values that are not finite")

    monkeypatch.setattr(plan_module, "batch_equals_singles", broken)
    with pytest.raises(StartupError, match=r"fails its self-test.*not finite"):
        load_engines(sound(models), "cpu", lanes=1, buckets=(1, 2))


def test_a_model_that_mixes_its_batch_runs_one_by_one(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "WORTHWHILE", 0.0)  # larger batches are kept whatever they bring
    plan = load_engines(sound(models, nodes=MIXED), "cpu", lanes=1).plan
    assert plan.buckets == (1,)
    assert set(plan.cost_s) == {1}
    assert any("batching is off" in note for note in plan.notes)


def test_batches_that_were_asked_for_and_are_wrong_refuse_to_start(models: ModelMaker) -> None:
    with pytest.raises(StartupError, match="CLEARCUT_BUCKETS"):
        load_engines(sound(models, nodes=MIXED), "cpu", lanes=1, buckets=(1, 2, 4))


def test_a_model_that_cannot_batch_runs_one_by_one(models: ModelMaker) -> None:
    plan = load_engines(sound(models, nodes=ONLY_ONE), "cpu", lanes=1, buckets=(1, 2, 4)).plan
    assert plan.buckets == (1,)
    assert "batches of 2 and more are off" in plan.notes[0]


def test_another_matte_of_the_golden_picture_refuses_to_start(models: ModelMaker) -> None:
    model = load_model("tiny", models(golden=OFF_GRID))
    with pytest.raises(StartupError, match=r"fails its self-test.*off by 0"):
        load_engines(model, "cpu", lanes=1, buckets=(1,))


def test_a_model_without_golden_facts_refuses_to_start(models: ModelMaker) -> None:
    with pytest.raises(StartupError, match=r"no golden facts.*models pin tiny"):
        load_engines(load_model("tiny", models()), "cpu", lanes=1, buckets=(1,))


def test_a_first_run_that_fails_refuses_to_start(models: ModelMaker) -> None:
    with pytest.raises(StartupError, match=r"fails its first run.*not finite"):
        load_engines(load_model("tiny", models(nodes=NAN)), "cpu", lanes=1)


def test_a_batch_size_outside_the_model_s_range_is_refused(models: ModelMaker) -> None:
    with pytest.raises(StartupError, match="Batch size 16 is not possible: model 'tiny' takes 1 to 8"):
        load_engines(load_model("tiny", models()), "cpu", buckets=(1, 16))


class TestOnAGpu:
    """With engines that run on the CPU and say otherwise: the real device is not needed for the choices."""

    @pytest.fixture(autouse=True)
    def gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(plan_module, "choose_device", lambda wanted: "cuda" if wanted == "auto" else wanted)

    def test_one_lane_takes_all_the_sizes_that_the_model_does(
        self, models: ModelMaker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        maker = priced({1: {1: 0.003, 2: 0.004, 4: 0.008, 8: 0.016}}, monkeypatch)
        plan = load_engines(sound(models), "auto", make_engine=maker).plan
        assert (plan.device, plan.lanes, plan.buckets) == ("cuda", 1, (1, 2, 4, 8))

    def test_a_size_that_does_not_fit_ends_the_list(self, models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
        maker = priced({1: {1: 0.003, 2: 0.004}}, monkeypatch)
        plan = load_engines(sound(models), "cuda", make_engine=maker).plan
        assert plan.buckets == (1, 2)
        assert "batches of 4 and more are off: Failed to allocate" in plan.notes[0]

    def test_auto_falls_back_to_the_cpu_and_says_why(self, models: ModelMaker) -> None:
        def maker(model: ModelFile, device: Device, threads: int) -> OnnxEngine:
            if device != "cpu":
                raise StartupError("the driver is too old")
            return OnnxEngine(model, device, threads)

        model = sound(models)
        plan = load_engines(model, "auto", lanes=1, make_engine=maker).plan
        assert plan.device == "cpu"
        assert plan.notes[0] == "running on the CPU: the driver is too old"
        with pytest.raises(StartupError, match="too old"):
            load_engines(model, "cuda", make_engine=maker)


def test_model_answers_as_manifest_says() -> None:
    loaded = load_engines(load_model("clearcut-s"), "cpu", lanes=1, intra_op_threads=1, buckets=(1, 2))
    assert loaded.plan.buckets == (1, 2), loaded.plan.notes
    assert loaded.plan.notes == ()
    shown = loaded.plan.to_dict()
    assert json.loads(json.dumps(shown)) == shown
    assert shown["lanes"] == 1


def test_the_golden_command_prints_the_manifest_s_table() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "clearcut.inference.startup.self_test", "clearcut-s"],
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("[models.clearcut-s.golden]")
    assert ran.stdout.count("],") == 8


def test_the_golden_picture_has_a_figure() -> None:
    first, second = golden_input(SPEC), golden_input(SPEC, 1)
    assert first.shape == (3, 16, 16)
    assert first.dtype == np.float32
    assert np.abs(first).max() <= 2.0
    assert float(first[0].max() - first[0].min()) > 1.0
    assert not np.array_equal(first, second)
