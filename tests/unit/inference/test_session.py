"""The session with ONNX Runtime: shapes, ranges, and exactly the requested device."""

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


def test_mattes_are_within_0_and_1(models: ModelMaker) -> None:
    engine = OnnxEngine(load_model("tiny", models()), "cpu", 1)
    engine.warm(batch(0, 0, 0))
    values = engine.run(batch(-3, 0.25, 7))
    assert values.shape == (3, SIDE, SIDE)
    assert values.dtype == np.float32
    assert [float(value.max()) for value in values] == [0, 0.25, 1]


def test_output_without_channel_axis_is_accepted(models: ModelMaker) -> None:
    engine = OnnxEngine(load_model("tiny", models(nodes=FLAT)), "cpu", 1)
    assert engine.warm(batch(0.5)).shape == (1, SIDE, SIDE)


def test_sigmoid_is_applied_to_logits(models: ModelMaker) -> None:
    engine = OnnxEngine(load_model("tiny", models(output="logit")), "cpu", 1)
    values = engine.warm(batch(-1000, 0, 2, 1000))
    assert [float(value[0, 0]) for value in values] == pytest.approx([0, 0.5, 0.880797, 1])


def test_minmax_is_stretched_if_there_is_a_subject(models: ModelMaker) -> None:
    engine = OnnxEngine(load_model("tiny", models(output="minmax")), "cpu", 1)
    images = batch(0.2, 0.1)
    images[:, :, 0, 0] = [[0.7] * 3, [0.4] * 3]
    subject, empty = engine.warm(images)
    assert (float(subject[0, 0]), float(subject[5, 5])) == pytest.approx((1, 0))
    assert (float(empty[0, 0]), float(empty[5, 5])) == pytest.approx((0.4, 0.1))


def test_batch_size_that_is_not_warmed_is_refused(models: ModelMaker) -> None:
    engine = OnnxEngine(load_model("tiny", models()), "cpu", 1)
    engine.warm(batch(0))
    with pytest.raises(ValueError, match=r"batch of 2 was not warmed up; warmed: \[1\]"):
        engine.run(batch(0, 0))


def test_nan_output_is_refused(models: ModelMaker) -> None:
    engine = OnnxEngine(load_model("tiny", models(nodes=NAN)), "cpu", 1)
    assert engine.warm(batch(1)).max() == 0
    with pytest.raises(ValueError, match="not finite"):
        engine.run(batch(-1))


def test_wrong_output_size_is_refused(models: ModelMaker) -> None:
    engine = OnnxEngine(load_model("tiny", models(side=32)), "cpu", 1)
    with pytest.raises(ValueError, match="expected 1 mattes of 32x32"):
        engine.warm(batch(0))


def test_invalid_model_file_is_refused(models: ModelMaker) -> None:
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
    """A machine without an NVIDIA driver, even if the tests run on one that has it."""
    loadable = providers._unloadable
    error = "libcuda.so.1: cannot open shared object file"
    monkeypatch.setattr(providers, "_unloadable", lambda name: error if name == "libcuda.so.1" else loadable(name))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*providers.PROVIDERS.values()], raising=True)


@pytest.mark.usefixtures("without_driver")
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_missing_gpu_is_refused(
    models: ModelMaker, device: providers.Device, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StartupError) as caught:
        OnnxEngine(load_model("tiny", models()), device, 1)
    assert f"'{device}'" in str(caught.value)
    assert "NVIDIA driver" in str(caught.value)
    assert "libcuda.so.1" in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("without_driver")
def test_auto_uses_the_cpu_without_a_gpu() -> None:
    assert choose_device("auto") == "cpu"
    assert choose_device("cuda") == "cuda"


def test_missing_provider_is_reported(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(StartupError, match=r"no CUDAExecutionProvider.*install onnxruntime-gpu"):
        OnnxEngine(load_model("tiny", models()), "cuda", 1)


def test_fallback_to_cpu_is_refused(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime falls back without an error even if driver and libraries load."""
    monkeypatch.setattr(session, "unavailable_reason", lambda device: None)
    monkeypatch.setattr(session, "provider_list", lambda *_: ["CPUExecutionProvider"])
    with pytest.raises(StartupError, match="'cuda' was requested and the runtime fell back to CPUExecutionProvider"):
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
def test_runtime_errors_are_classified(models: ModelMaker, text: str, kind: type[Exception]) -> None:
    class Raising:
        def run(self, *_: object) -> None:
            raise RuntimeError(text)

    engine = OnnxEngine(load_model("tiny", models()), "cpu", 1)
    engine.device = "cuda"
    engine._session = Raising()
    with pytest.raises(kind):
        engine.warm(batch(0))


def test_bound_memory_gives_the_same_output(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "is_better", lambda *_: True)  # binding has no advantage on a CPU
    engine = OnnxEngine(load_model("tiny", models()), "cpu", 1)
    engine._bind = True
    engine.warm(batch(0))
    engine.warm(batch(0, 0, 0))
    assert engine.bound == {1, 3}
    first = engine.run(batch(-3, 0.25, 7))
    copy = first.copy()
    second = engine.run(batch(0.5, 0.75, 1))
    assert [float(value.max()) for value in first] == [0, 0.25, 1]
    assert [float(value.max()) for value in second] == [0.5, 0.75, 1]
    assert (first == copy).all()  # the next run does not overwrite it


def test_failed_binding_is_noted(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no such device")

    monkeypatch.setattr(session, "IOBinding", refuse)
    engine = OnnxEngine(load_model("tiny", models()), "cpu", 1)
    engine._bind = True
    engine.warm(batch(0))
    assert engine.bound == frozenset()
    assert engine.notes == ["batches of 1 are not bound to device memory: no such device"]
    assert float(engine.run(batch(0.25)).max()) == 0.25


def test_binding_with_other_output_is_not_used(models: ModelMaker) -> None:
    class Wrong:
        def run(self, _: F32) -> F32:
            return np.ones((1, 1, SIDE, SIDE), np.float32)

    engine = OnnxEngine(load_model("tiny", models()), "cpu", 1)
    assert not is_better(Wrong(), engine._plain, batch(0.25))  # type: ignore[arg-type]


def test_tensorrt_options(models: ModelMaker, tmp_path: Path) -> None:
    model = load_model("tiny", models())
    options = providers._tensorrt_options(GpuOptions(engine_cache=tmp_path, largest_batch=8), model)
    largest = options["trt_profile_max_shapes"].split(":")[1]
    assert largest == f"{min(8, model.entry.batch_max)}x3x{SIDE}x{SIDE}"
    assert options["trt_engine_cache_path"] == str(tmp_path)
    assert "trt_engine_cache_path" not in providers._tensorrt_options(GpuOptions(), model)
