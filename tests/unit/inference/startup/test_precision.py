"""Selection of the model file by device, measurement and self-test."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from clearcut.errors import StartupError
from clearcut.inference.model_files import load_model
from clearcut.inference.session import OnnxEngine
from clearcut.inference.startup import precision
from clearcut.inference.startup.precision import has_vnni, load_best
from tests.support.onnx_models import MEAN, ModelMaker, build, golden_table

VARIANT = """
[models.tiny.variants.{precision}]
file = "tiny.{precision}.onnx"
sha256 = "{sha256}"
views = 1
at_most = {at_most}
[models.tiny.variants.{precision}.parity]
iou = 0.99
mae = 0.01
measured_on = "a test"
"""
WRONG = (
    "[models.tiny.variants.int8.golden]\ntolerance = 0.02\ngrid = ["
    + "[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],\n" * 8
    + "]\n"
)


@pytest.fixture
def folder(models: ModelMaker) -> Path:
    """A model with correct int8 and fp16 variants."""
    return with_variants(models)


def with_variants(models: ModelMaker, at_most: float = 10, golden: str = "") -> Path:
    folder = models()
    data = build(MEAN)
    golden_of_tiny = golden_table(load_model("tiny", folder))
    with (folder / "manifest.toml").open("a") as manifest:
        manifest.write(golden_of_tiny)
        for precision in ("int8", "fp16"):
            other = data + b"\x12\x00" * (1 + (precision == "fp16"))  # an empty protobuf field changes the hash
            (folder / f"tiny.{precision}.onnx").write_bytes(other)
            sha256 = hashlib.sha256(other).hexdigest()
            manifest.write(VARIANT.format(precision=precision, sha256=sha256, at_most=at_most))
            own = golden_of_tiny.replace("models.tiny.golden", f"models.tiny.variants.{precision}.golden")
            manifest.write(golden if golden and precision == "int8" else own)
    return folder


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("flags\t\t: fpu avx2 avx512_vnni", True),
        ("flags\t\t: fpu avx2 avx_vnni", True),
        ("flags\t\t: fpu avx2 avx512f", False),
        ("Features\t: fp asimd asimddp", True),
        ("Features\t: fp asimd", False),
        ("model name\t: avx512_vnni", False),
        ("", False),
    ],
)
def test_vnni_flags(tmp_path: Path, text: str, has: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{text}\n")
    assert has_vnni(tmp_path / "cpuinfo") is has


def test_no_vnni_without_cpuinfo(tmp_path: Path) -> None:
    assert not has_vnni(tmp_path / "cpuinfo")


def test_int8_on_any_cpu(folder: Path) -> None:
    model, loaded = load_best("tiny", "auto", "cpu", models_dir=folder, lanes=1, buckets=(1,))
    assert (model.entry.precision, model.entry.file) == ("int8", "tiny.int8.onnx")
    assert loaded.plan.notes == ()


def test_fp32_if_int8_is_slow(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = with_variants(models, at_most=0.8)
    seconds = {"tiny.int8.onnx": 0.9, "tiny.onnx": 1.0}
    monkeypatch.setattr(precision, "_seconds", lambda engine, _: seconds[engine.file])

    class Named(OnnxEngine):
        def __init__(self, model, device, threads):
            super().__init__(model, device, threads)
            self.file = model.path.name

    monkeypatch.setattr(precision, "OnnxEngine", Named)
    model, loaded = load_best("tiny", "auto", "cpu", models_dir=folder, lanes=1, buckets=(1,))
    assert model.entry.precision == "fp32"
    assert "takes 0.90 of the time of fp32, and the maximum is 0.8" in loaded.plan.notes[0]
    seconds["tiny.int8.onnx"] = 0.7
    model, _ = load_best("tiny", "auto", "cpu", models_dir=folder, lanes=1, buckets=(1,))
    assert model.entry.precision == "int8"


def test_fp32_if_int8_fails_self_test(models: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU without VNNI computes wrong mattes with some int8 files. They are not measured."""
    folder = with_variants(models, golden=WRONG)
    monkeypatch.setattr(precision, "_seconds", lambda *_: pytest.fail("measured"))
    model, loaded = load_best("tiny", "auto", "cpu", models_dir=folder, lanes=1, buckets=(1,))
    assert model.entry.precision == "fp32"
    assert "fails its self-test" in loaded.plan.notes[0]
    with pytest.raises(StartupError, match="fails its self-test"):
        load_best("tiny", "int8", "cpu", models_dir=folder, lanes=1, buckets=(1,))


def test_damaged_variant_is_refused(folder: Path) -> None:
    (folder / "tiny.int8.onnx").write_bytes(b"tampered")
    with pytest.raises(StartupError, match=r"tiny\.int8\.onnx has sha256"):
        load_best("tiny", "auto", "cpu", models_dir=folder)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_requested_precision_is_used(folder: Path, precision) -> None:
    model, _ = load_best("tiny", precision, "cpu", models_dir=folder, lanes=1, buckets=(1,))
    assert model.entry.precision == precision


def test_missing_precision_is_refused(models: ModelMaker) -> None:
    with pytest.raises(StartupError, match=r"'tiny' has no int8 variant\. It has: fp32"):
        load_best("tiny", "int8", "cpu", models_dir=models())


def test_fp16_on_a_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "choose_device", lambda _: "cuda")
    monkeypatch.setattr("clearcut.inference.startup.autotune.choose_device", lambda _: "cuda")

    def make(model, device, threads):
        engine = OnnxEngine(model, "cpu", threads)
        engine.device = device
        return engine

    model, loaded = load_best("tiny", "auto", "auto", models_dir=folder, make_engine=make, buckets=(1,))
    assert (model.entry.precision, loaded.plan.device) == ("fp16", "cuda")


def test_fp32_if_gpu_session_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "choose_device", lambda _: "cuda")
    monkeypatch.setattr("clearcut.inference.startup.autotune.choose_device", lambda _: "cuda")

    def make(model, device, threads):
        if device != "cpu":
            raise StartupError("the driver is too old")
        return OnnxEngine(model, "cpu", threads)

    model, loaded = load_best("tiny", "auto", "auto", models_dir=folder, make_engine=make, lanes=1, buckets=(1,))
    assert (model.entry.precision, loaded.plan.device) == ("fp32", "cpu")
    assert any("fp16 is not used" in note and "too old" in note for note in loaded.plan.notes)


def test_locally_made_variant_needs_a_pin(folder: Path) -> None:
    """A missing file is skipped, a file without a pin is refused, and a pinned file runs."""
    manifest = folder / "manifest.toml"
    text = manifest.read_text()
    sha256 = hashlib.sha256((folder / "tiny.int8.onnx").read_bytes()).hexdigest()
    manifest.write_text(text.replace(f'sha256 = "{sha256}"', 'recipe = "make something"'))
    options = {"models_dir": folder, "lanes": 1, "buckets": (1,)}
    with pytest.raises(StartupError, match=r"no pin beside it\. Make it: make something"):
        load_best("tiny", "auto", "cpu", **options)
    (folder / "tiny.int8.onnx.pin.toml").write_text(f'sha256 = "{sha256}"\n')
    assert load_best("tiny", "auto", "cpu", **options)[0].entry.sha256 == sha256
    (folder / "tiny.int8.onnx").unlink()
    assert load_best("tiny", "auto", "cpu", **options)[0].entry.precision == "fp32"
    with pytest.raises(StartupError, match="Make it: make something"):
        load_best("tiny", "int8", "cpu", **options)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("variants.int8]", "variants.int4]", "models.tiny.variants.int4: Input should be 'int8' or 'fp16'"),
        ('file = "tiny.int8.onnx"', 'file = "../a.onnx"', "models.tiny.variants.int8.file"),
        ("iou = 0.99", "iou = 99", "models.tiny.variants.int8.parity.iou"),
        ("views = 1", "views = 3", "models.tiny.variants.int8.views"),
    ],
)
def test_invalid_variant_names_the_field(folder: Path, old: str, new: str, field: str) -> None:
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text().replace(old, new, 1))
    with pytest.raises(StartupError) as caught:
        load_model("tiny", folder)
    assert field in str(caught.value)


def test_paired_ratio_of_models_with_different_inputs() -> None:
    small, large = load_model("clearcut-s"), load_model("clearcut-m")
    assert small.entry.input.side != large.entry.input.side
    assert 0 < precision.paired_ratio(large, small, rounds=1) < 100
