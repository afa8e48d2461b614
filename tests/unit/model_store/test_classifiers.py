"""Classifiers from npm packages: the conversion of layers models to ONNX, and the pull."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from clearcut.errors import StartupError
from clearcut.inference.manifest import MANIFEST
from clearcut.inference.moderation import load_moderator, read_classifiers
from clearcut.inference.runtime import CpuSession
from clearcut.model_store.classifiers import pull_classifier
from clearcut.model_store.onnx_export import to_onnx
from clearcut.model_store.tfjs import ModelFormatError, parse_topology, parse_weights
from tests.support.layers_models import LABELS, SCORES, SIDE, image, modules
from tests.support.npm_packages import NAME, VERSION, integrity, registry, tarball


def scores_of(topology: bytes, weights: bytes) -> np.ndarray:
    parsed = parse_topology(topology)
    values = parse_weights(parsed["weightsManifest"], [weights])
    return CpuSession(to_onnx(parsed["modelTopology"], values, "scores")).run(image())[0]


def test_scores_equal_those_of_tensorflow_js():
    assert scores_of(*modules()) == pytest.approx(SCORES, abs=1e-5)


def test_quantized_weights_are_restored():
    found = scores_of(*modules(conv__kernel=(-1.0, 2 / 255), dense__kernel=(-1.0, 2 / 255)))
    assert found == pytest.approx(SCORES, abs=0.02)
    assert found != pytest.approx(SCORES, abs=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"ReLU"', b'"PReLU"', "PReLU is not supported"),
        (b"exports=", b"imports=", "exports no object"),
        (b'activation:"softmax"', b'activation:alert("x")', "unexpected text|unexpected word"),
        (b"!1", b"`x`", "unexpected text"),
        (b"dilation_rate:[1,1]", b"dilation_rate:[2,1]", "dilation is not supported"),
        (b"norm/gamma", b"norm/delta", "norm/gamma"),
        (b"shape:[16,5]", b"shape:[16,4]", "the manifest lists"),
        (b"shape:[16,5]", b"shape:[16,5000]", "do not match"),
    ],
)
def test_unknown_parts_are_refused(old, new, words):
    topology, weights = modules()
    assert old in topology
    with pytest.raises(ModelFormatError, match=words):
        scores_of(topology.replace(old, new), weights)


@pytest.fixture
def classifier(tmp_path):
    topology, weights = modules()
    package = tarball({"dist/model.min.js": topology, "dist/weights.min.js": weights})

    def write(golden: str = "plain = 0.252, odd = 0.437, rude = 0.311") -> bytes:
        (tmp_path / MANIFEST).write_text(f"""
[classifiers.small]
file = "small.onnx"
licence = "MIT"
source = "a test"
output = "probability"
labels = {list(LABELS)}
golden = {{ {golden} }}
tolerance = 0.9
[classifiers.small.package]
name = "npm:{NAME}@{VERSION}"
integrity = "{integrity(package)}"
topology = "dist/model.min.js"
weights = ["dist/weights.min.js"]
[classifiers.small.refuse]
rude = 0.9
[classifiers.small.input]
side = {SIDE}
divide_by = 255
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
""")
        return package

    return write


def test_pulled_classifier_moderates(classifier, tmp_path):
    package = classifier()
    assert load_moderator(None, tmp_path) is None
    table = read_classifiers(tmp_path)["small"]
    with registry(package) as origin:
        pull_classifier("small", table, tmp_path / table.file, origin.url)
    moderator = load_moderator(None, tmp_path)
    assert list(moderator.scores(image()[0]).values()) == pytest.approx(SCORES, abs=1e-5)
    assert moderator.refusal(image()[0]) is None
    strict = load_moderator(None, tmp_path, {"odd": 0.4})
    assert strict.refusal(image()[0]) == "odd"
    (tmp_path / table.file).write_bytes(b"other")
    with pytest.raises(StartupError, match="the manifest says"):
        load_moderator(None, tmp_path)


def test_unknown_limit_is_refused(classifier, tmp_path):
    package = classifier()
    with pytest.raises(StartupError, match="needs a classifier"):
        load_moderator(None, tmp_path, {"rude": 0.5})
    table = read_classifiers(tmp_path)["small"]
    with registry(package) as origin:
        pull_classifier("small", table, tmp_path / table.file, origin.url)
    with pytest.raises(StartupError, match=r"unknown label violet.*plain, odd, rude"):
        load_moderator(None, tmp_path, {"violet": 0.5})


def test_other_scores_than_the_manifest_are_refused(classifier, tmp_path):
    package = classifier("plain = 0.0, odd = 0.0, rude = 1.0")
    table = read_classifiers(tmp_path)["small"].model_copy(update={"tolerance": 0.02})
    with registry(package) as origin, pytest.raises(StartupError, match="fails its self-test"):
        pull_classifier("small", table, tmp_path / table.file, origin.url)
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


def test_missing_extra_is_named(classifier, tmp_path, monkeypatch):
    classifier()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(StartupError, match="install the 'models' extra"):
        pull_classifier("small", read_classifiers(tmp_path)["small"], tmp_path / "small.onnx", "")
