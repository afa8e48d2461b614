"""The session on real ONNX Runtime: shapes, ranges, and exactly the device that was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from clearcut.errors import StartupError
from clearcut.inference import providers, session
from clearcut.inference.io_binding import is_better
from clearcut.inference.model_files import load_model
from clearcut.inference.providers import GpuOptions, choose_device
from clearcut.inference.session import OnnxEngine, OutOfDeviceMemory
from clearcut.inference.types import F32, FatalEngineError
from tests.support.onnx_models import FLAT, NAN, SIDE, ModelMaker


def batch(*reds: float) -> F32:
    return np.stack([np.full((3, SIDE, SIDE), red, np.float32) for red in reds])


def test_answers_are_mattes_within_0_and_1(models: ModelMaker) -> None:
    engine = OnnxEngine(load_model("tiny", models()), "cpu", 1)
    engine.warm(batch(0, 0, 0))
    values = engine.run(batch(-3, 0.25, 7))
    assert values.shape == (3, SIDE, SIDE)
    assert values.dtype == np.float32
    assert [float(value.max()) for value in values] == [0, 0.25, 1]
    assert engine.warmed == {3}


def test_an_answer_without_a_channel_axis_is_taken_too(models: ModelMaker) -> None:
    engine = OnnxEngine(load_model("tiny", models(nodes=FLAT)), "cpu", 1)
    assert engine.warm(batch(0.5)).shape == (1, SIDE, SIDE)


def test_logits_get_their_sigmoid(models: ModelMaker) -> None:
    engine = OnnxEngine(load_model("tiny", models(output="logit")), "cpu", 1)
    values = engine.warm(batch(-1000, 0, 2, 1000))
    assert [float(value[0, 0]) for value in values] == pytest.approx([0, 0.5, 0.880797, 1])


def test_a_stretched_answer_reaches_0_and_1_where_there_is_a_subject(models: ModelMaker) -> None:
    engine = OnnxEngine(load_model("tiny", models(output="minmax")), "cpu", 1)
    pictures = batch(0.2, 0.1)
    pictures[:, :, 0, 0] = [[0.7] * 3, [0.4] * 3]
    seen, empty = engine.warm(pictures)
    assert (float(seen[0, 0]), float(seen[5, 5])) == pytest.approx((1, 0))
    assert (float(empty[0, 0]), float(empty[5, 5])) == pytest.approx((0.4, 0.1))


def test_a_batch_size_that_was_not_warmed_never_reaches_the_runtime(models: ModelMaker) -> None:
    engine = OnnxEngine(load_model("tiny", models()), "cpu", 1)
    engine.warm(batch(0))
    with pytest.raises(ValueError, match=r"batch of 2 was not warmed up; warmed: \[1\]"):
        engine.run(batch(0, 0))


def test_values_that_are_not_finite_are_refused(models: ModelMaker) -> None:
    engine = OnnxEngine(load_model("tiny", models(nodes=NAN)), "cpu", 1)
    assert engine.warm(batch(1)).max() == 0
    with pytest.raises(ValueError, match="not finite"):
        engine.run(batch(-1))


def test_a_model_of_another_side_is_refused(models: ModelMaker) -> None:
    engine = OnnxEngine(load_model("tiny", models(side=32)), "cpu", 1)
    with pytest.raises(ValueError, match="expected 1 mattes of 32x32"):
        engine.warm(batch(0))


def test_a_file_that_is_no_model_refuses_to_start(models: ModelMaker) -> None:
    folder = models()
    (folder / "tiny.onnx").write_bytes(b"hello")
    manifest = folder / "manifest.toml"
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    manifest.write_text(manifest.read_text().replace(load_hash(manifest.read_text()), digest))
    with pytest.raises(StartupError, match=r"tiny\.onnx cannot be loaded on cpu"):
        OnnxEngine(load_model("tiny", folder), "cpu", 1)


def load_hash(manifest: str) -> str:
    return manifest.split('sha256 = "')[1][:64]


@pytest.fixture
def without_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without an NVIDIA driver, also where the tests run on one that has it."""
    loadable = providers._unloadable
    gone = "libcuda.so.1: cannot open shared object file"
    monkeypatch.setattr(providers, "_unloadable", lambda name: gone if name == "libcuda.so.1" else loadable(name))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*providers.PROVIDERS.values()], raising=True)


@pytest.mark.usefixtures("without_driver")
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_gpu_that_is_not_there_refuses_to_start(
    models: ModelMaker, device: providers.Device, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StartupError) as caught:
        OnnxEngine(load_model("tiny", models()), device, 1)
    assert f"'{device}'" in str(caught.value)
    assert "NVIDIA driver" in str(caught.value)
    assert "libcuda.so.1" in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("without_driver")
def test_auto_takes_the_cpu_where_there_is_no_gpu() -> None:
    assert choose_device("auto") == "cpu"
    assert choose_device("cuda") == "cuda"


def test_a_build_without_the_provider_says_so(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(StartupError, match=r"no CUDAExecutionProvider.*install onnxruntime-gpu"):
        OnnxEngine(load_model("tiny", models()), "cuda", 1)


def test_landing_on_the_cpu_refuses_to_start(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Driver and libraries look fine, and the runtime still falls back, which it does without an error."""
    monkeypatch.setattr(session, "unavailable_reason", lambda device: None)
    monkeypatch.setattr(session, "provider_list", lambda *_: ["CPUExecutionProvider"])
    with pytest.raises(StartupError, match="'cuda' was asked for and the runtime fell back to CPUExecutionProvider"):
        OnnxEngine(load_model("tiny", models()), "cuda", 1)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=0", FatalEngineError),
        ("CUDNN failure 4: CUDNN_STATUS_INTERNAL_ERROR ; GPU=0", FatalEngineError),
        ("CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED", FatalEngineError),
        ("bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 1048576", OutOfDeviceMemory),
        ("CUDA failure 2: out of memory ; GPU=0", OutOfDeviceMemory),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED", OutOfDeviceMemory),
        ("Got invalid dimensions for input: image", RuntimeError),
    ],
)
def test_a_lost_device_is_told_from_a_failed_run(models: ModelMaker, text: str, kind: type[Exception]) -> None:
    class Raising:
        def run(self, *_: object) -> None:
            raise RuntimeError(text)

    engine = OnnxEngine(load_model("tiny", models()), "cpu", 1)
    engine.device = "cuda"
    engine._session = Raising()
    with pytest.raises(kind):
        engine.warm(batch(0))


def test_bound_memory_gives_the_same_answers(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "is_better", lambda *_: True)  # on a CPU there is nothing to gain
    engine = OnnxEngine(load_model("tiny", models()), "cpu", 1, bind=True)
    engine.warm(batch(0))
    engine.warm(batch(0, 0, 0))
    assert engine.bound == {1, 3}
    first = engine.run(batch(-3, 0.25, 7))
    kept = first.copy()
    second = engine.run(batch(0.5, 0.75, 1))
    assert [float(value.max()) for value in first] == [0, 0.25, 1]
    assert [float(value.max()) for value in second] == [0.5, 0.75, 1]
    assert (first == kept).all()  # the next run does not write into an answer that was handed out


def test_memory_that_cannot_be_bound_is_said_and_done_without(
    models: ModelMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no such device")

    monkeypatch.setattr(session, "IOBinding", refuse)
    engine = OnnxEngine(load_model("tiny", models()), "cpu", 1, bind=True)
    engine.warm(batch(0))
    assert engine.bound == frozenset()
    assert engine.notes == ["batches of 1 are not bound to device memory: no such device"]
    assert float(engine.run(batch(0.25)).max()) == 0.25


def test_binding_must_agree_with_plain_runs(models: ModelMaker) -> None:
    class Wrong:
        def run(self, _: F32) -> F32:
            return np.ones((1, 1, SIDE, SIDE), np.float32)

    engine = OnnxEngine(load_model("tiny", models()), "cpu", 1)
    assert not is_better(Wrong(), engine._plain, batch(0.25))  # type: ignore[arg-type]


def test_tensorrt_is_told_its_shapes_and_where_to_keep_engines(models: ModelMaker, tmp_path: Path) -> None:
    model = load_model("tiny", models())
    options = providers._tensorrt_options(GpuOptions(engine_cache=tmp_path, largest_batch=8), model)
    largest = options["trt_profile_max_shapes"].split(":")[1]
    assert largest == f"{min(8, model.entry.batch_max)}x3x{SIDE}x{SIDE}"
    assert options["trt_engine_cache_path"] == str(tmp_path)
    assert "trt_engine_cache_path" not in providers._tensorrt_options(GpuOptions(), model)
