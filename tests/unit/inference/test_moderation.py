"""Moderation, with a model that scores the brightness of an image as `bright`."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from clearcut.errors import StartupError
from clearcut.inference.moderation import load_moderator

SIDE = 16


def bright_or_dark(logits: bool = False) -> bytes:
    """f32[1,3,S,S] in 0..1 to f32[1,2]: (mean, 1 - mean), or ten times that."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2])
    factor = helper.make_tensor("factor", TensorProto.FLOAT, [1], [10.0 if logits else 1.0])
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, 1])
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "shape"], ["bright"]),
        helper.make_node("Sub", ["one", "bright"], ["dark_flat"]),
        helper.make_node("Concat", ["bright", "dark_flat"], ["both"], axis=1),
        helper.make_node("Mul", ["both", "factor"], ["scores"]),
    ]
    graph = helper.make_graph(nodes, "bright", [image], [scores], [factor, one, shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def install(folder, *, data: bytes | None = None, refuse: str = "bright = 0.5", **changed: str) -> None:
    data = bright_or_dark() if data is None else data
    (folder / "moderation.onnx").write_bytes(data)
    values = {
        "file": '"moderation.onnx"', "sha256": f'"{hashlib.sha256(data).hexdigest()}"', "output": '"probability"',
        "labels": '["bright", "dark"]',
    } | changed  # fmt: skip
    lines = [f"{name} = {value}" for name, value in values.items()]
    fed = ["[moderation.input]", f"side = {SIDE}", "divide_by = 255", "mean = [0, 0, 0]", "std = [1, 1, 1]"]
    text = "\n".join(["[moderation]", *lines, "[moderation.refuse]", refuse, *fed])
    (folder / "manifest.toml").write_text(text)


def gray(value: float) -> np.ndarray:
    return np.full((3, SIDE, SIDE), value, np.float32)


def test_score_at_threshold_rejects_image(tmp_path):
    install(tmp_path)
    moderator = load_moderator(tmp_path)
    assert moderator.refusal(gray(0.25)) is None
    assert moderator.refusal(gray(0.5)) == "bright"
    assert moderator.scores(gray(0.25)) == {"bright": 0.25, "dark": 0.75}


def test_logits_become_probabilities(tmp_path):
    data = bright_or_dark(logits=True)
    install(tmp_path, data=data, output='"logit"')
    scores = load_moderator(tmp_path).scores(gray(0.75))
    assert scores["bright"] == pytest.approx(1 / (1 + np.exp(-5)), rel=1e-6)
    assert sum(scores.values()) == pytest.approx(1)


def test_no_table_gives_no_moderator(tmp_path):
    assert load_moderator(None) is None
    assert load_moderator(tmp_path) is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sha256": f'"{"0" * 64}"'}, "the manifest says"),
        ({"file": '"other.onnx"'}, "other.onnx is not in"),
        ({"file": '"../moderation.onnx"'}, "moderation.file"),
        ({"labels": '["bright"]', "refuse": "bright = 0.5"}, "2 scores for 1 labels"),
        ({"refuse": "violet = 0.5"}, "unknown labels: \\['violet'\\]"),
        ({"refuse": "bright = 2"}, "moderation.refuse.bright"),
        ({"output": '"minmax"'}, "moderation.output"),
        ({"data": b"no model"}, "cannot be used"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid_moderation_is_refused(tmp_path, changed, words):
    install(tmp_path, **changed)
    with pytest.raises(StartupError, match=words):
        load_moderator(tmp_path)


def test_nan_score_rejects_image(tmp_path):
    install(tmp_path)
    assert load_moderator(tmp_path).refusal(gray(float("nan"))) == "bright"
