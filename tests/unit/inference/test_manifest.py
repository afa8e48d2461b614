"""The manifest, the files of its models, and the errors of both."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from clearcut.errors import StartupError
from clearcut.inference.manifest import Precision, models_folder, read_manifest
from clearcut.inference.model_files import ModelFile, load_model
from clearcut.inference.session import OnnxEngine
from clearcut.inference.startup.precision import has_vnni
from clearcut.inference.startup.self_test import check_golden, golden_input
from tests.support.onnx_models import ModelMaker


def test_models_of_the_repository() -> None:
    entries = read_manifest(models_folder() / "manifest.toml")
    assert set(entries) >= {"clearcut-s", "u2netp"}
    for entry in (entries[name] for name in ("clearcut-s", "u2netp")):
        assert entry.licence == "Apache-2.0"
        assert entry.golden is not None
        assert entry.input.scale == pytest.approx(1 / 255)
        assert (entry.batch_min, entry.batch_max) == (1, 32)


def test_small_model_exists_with_its_hash() -> None:
    model = load_model("clearcut-s")
    assert model.path == models_folder() / "clearcut-s.onnx"
    assert hashlib.sha256(model.data).hexdigest() == model.entry.sha256


@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16"])
def test_files_of_small_model_are_correct_and_small(precision: Precision) -> None:
    model = load_model("clearcut-s", precision=precision)
    assert len(model.data) <= 16_000_000
    assert model.entry.golden is not None
    assert model.entry.precision == precision
    if precision != "fp32":
        assert model.entry.parity is not None
        assert model.entry.parity.iou >= 0.985
        assert model.entry.parity.mae <= 0.05


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_variants_agree_with_fp32(precision: Precision) -> None:
    """Compare the mattes of the golden image. The variants average two views, fp32 uses one."""
    if precision == "int8" and not has_vnni():
        pytest.skip("the golden output is that of CPUs with VNNI")
    plain, variant = (load_model("clearcut-s", precision=each) for each in ("fp32", precision))
    check_golden(warmed(variant), variant, 1)
    image = golden_input(plain.entry.input)[None]
    both = [warmed(model).run(image)[0] for model in (plain, variant)]
    mirrored = warmed(plain).run(np.ascontiguousarray(image[..., ::-1]))[0][:, ::-1]
    assert np.abs((both[0] + mirrored) / 2 - both[1]).mean() < 0.02


def warmed(model: ModelFile) -> OnnxEngine:
    engine = OnnxEngine(model, "cpu", 1)
    engine.warm(golden_input(model.entry.input)[None])
    return engine


def test_file_in_second_folder(models: ModelMaker, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = models()
    other = tmp_path_factory.mktemp("other")
    (folder / "tiny.onnx").rename(other / "tiny.onnx")
    assert load_model("tiny", folder, other).path == other / "tiny.onnx"


def test_first_folder_is_preferred(models: ModelMaker, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = models()
    other = tmp_path_factory.mktemp("other")
    (other / "tiny.onnx").write_bytes(b"another")
    assert load_model("tiny", folder, other).path == folder / "tiny.onnx"


def test_missing_file_error_names_the_folders(models: ModelMaker, tmp_path: Path) -> None:
    folder = models()
    (folder / "tiny.onnx").unlink()
    with pytest.raises(StartupError) as caught:
        load_model("tiny", folder, tmp_path / "extra")
    for part in ("tiny.onnx", str(folder), str(tmp_path / "extra"), "made by a test", "CLEARCUT_MODEL_DIR"):
        assert part in str(caught.value)


def test_hash_error_names_both_hashes(models: ModelMaker) -> None:
    folder = models()
    expected = hashlib.sha256((folder / "tiny.onnx").read_bytes()).hexdigest()
    (folder / "tiny.onnx").write_bytes(b"tampered")
    with pytest.raises(StartupError) as caught:
        load_model("tiny", folder)
    for part in ("tiny.onnx", expected, hashlib.sha256(b"tampered").hexdigest()):
        assert part in str(caught.value)


def test_unknown_model_error_lists_the_known(models: ModelMaker) -> None:
    models("one")
    folder = models("two")
    with pytest.raises(StartupError, match=r"Unknown model 'three'.*one, two"):
        load_model("three", folder)


def test_variants_use_the_edge_model() -> None:
    entry = read_manifest(models_folder() / "manifest.toml")["clearcut-s"]
    assert entry.edges
    assert all(each.edges for each in entry.variants.values())


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('file = "tiny.onnx"', 'file = "../tiny.onnx"', "models.tiny.file"),
        ('file = "tiny.onnx"', "", "models.tiny.file"),
        ('output = "probability"', 'output = "percent"', "models.tiny.output"),
        ("side = 16", "side = 0", "models.tiny.input.side"),
        ("side = 16", "side = true", "models.tiny.input.side"),
        ("std = [0.25, 0.25, 0.25]", "std = [0.25, 0.25]", "models.tiny.input.std"),
        ("std = [0.25, 0.25, 0.25]", "std = [0.25, 0, 0.25]", "models.tiny.input.std.1"),
        ("[models.tiny.batch]", "[models.tiny.batches]", "models.tiny.batch: Field required"),
        ("max = 8", "max = 0", "models.tiny.batch.max"),
        ("max = 8", "max = 8\n[models.tiny.golden]\ntolerance = 0.1\ngrid = []", "models.tiny.golden.grid"),
        (
            'output = "probability"',
            'output = "probability"\nedges = "yes"',
            "models.tiny.edges: Input should be a valid boolean, got 'yes'",
        ),
        ("[models.tiny]", "[models.tiny", "not valid TOML"),
    ],
)
def test_invalid_entry_error_names_the_field(models: ModelMaker, old: str, new: str, field: str) -> None:
    file = models() / "manifest.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(StartupError) as caught:
        read_manifest(file)
    assert field in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("text", ["", "models = 3", "[models]", "[models]\ntiny = 3"])
def test_manifest_without_models_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.toml").write_text(text)
    with pytest.raises(StartupError, match=r"manifest\.toml"):
        read_manifest(tmp_path / "manifest.toml")


def test_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"manifest\.toml cannot be read"):
        read_manifest(tmp_path / "manifest.toml")
