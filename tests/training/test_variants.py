"""Variants of a network: two views in one file, int8, fp16, and their manifest entries."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from clearcut.inference.manifest import read_manifest
from clearcut.inference.model_files import load_model
from clearcut.inference.startup.self_test import golden_input
from models.training.graphs import compact, expanded, half, mirrored
from models.training.quantize import Quantizer, compare, images_of, run_all
from models.training.variants import rewritten, variant_lines

SIDE = 64
ENTRY = """
# a comment
[models.tiny]
file = "tiny.onnx"
sha256 = "{sha256}"
licence = "Apache-2.0"
source = "made by a test"
output = "probability"
[models.tiny.input]
side = 64
divide_by = 255
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
[models.tiny.batch]
min = 1
max = 8

[models.tiny.golden]
tolerance = 0.02
grid = [
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
]

[models.other]
file = "other.onnx"
sha256 = "1111111111111111111111111111111111111111111111111111111111111111"
"""


def network(loud: float = 1.0) -> ModelProto:
    """Return Conv, Relu, Conv, Relu, Conv, Sigmoid: red against the other channels, asymmetric to the left.

    Args:
        loud: Factor of one channel's values over the others, which makes one range for all of them coarse.
    """
    rng = np.random.default_rng(3)
    lean = np.zeros((8, 3, 3, 3), np.float32)
    lean[:, 0, 1, 0], lean[:, 1, 1, 1] = 0.6, -0.3
    lean += rng.normal(0, 0.05, lean.shape).astype(np.float32)
    mix = (np.eye(8)[:, :, None, None] + rng.normal(0, 0.05, (8, 8, 1, 1))).astype(np.float32)
    mix[0] *= loud
    last = np.full((1, 8, 1, 1), 0.8, np.float32)
    last[0, 0] /= loud
    weights = {"w1": lean, "w2": mix, "w3": last, "b3": np.array([-2.0], np.float32)}
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["a"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node("Conv", ["b", "w2"], ["c"], "conv2"),
        helper.make_node("Relu", ["c"], ["d"], "relu2"),
        helper.make_node("Conv", ["d", "w3", "b3"], ["logits"], "conv3"),
        helper.make_node("Sigmoid", ["logits"], ["matte"], "end"),
    ]
    shape = ["batch", 1, SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("matte", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    created = []
    for _ in range(6):
        coarse = rng.normal(0, 1.5, (3, 4, 4)).astype(np.float32).transpose(1, 2, 0)
        smooth = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        created.append(np.ascontiguousarray(smooth.transpose(2, 0, 1)[None]))
    return created


def logit(values: np.ndarray) -> np.ndarray:
    return np.log(values / (1 - values))


def test_two_views_average_the_logits(images) -> None:
    plain, both = network().SerializeToString(), mirrored(network()).SerializeToString()
    ours = run_all(both, images)
    straight = run_all(plain, images)
    turned = run_all(plain, [np.ascontiguousarray(each[..., ::-1]) for each in images])
    for got, one, two in zip(ours, straight, turned, strict=True):
        expected = (logit(one) + logit(two[:, ::-1])) / 2
        np.testing.assert_allclose(got, 1 / (1 + np.exp(-expected)), atol=1e-5)
    assert max(np.abs(a - b).max() for a, b in zip(ours, straight, strict=True)) > 0.05, "the views are the same"


def test_two_views_in_batch_equal_single_images(images) -> None:
    data = mirrored(network()).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    together = session.run(None, {"image": np.concatenate(images)})[0]
    np.testing.assert_allclose(together[:, 0], np.stack(run_all(data, images)), atol=1e-6)


def test_unsupported_graphs_are_refused() -> None:
    graph = network()
    graph.graph.node[-1].op_type = "Tanh"
    with pytest.raises(ValueError, match="Sigmoid"):
        mirrored(graph)
    graph = network()
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(ValueError, match="any batch"):
        mirrored(graph)


def test_fp16_graph_has_float32_inputs_and_outputs(images) -> None:
    created = half(network())
    assert {each.data_type for each in created.graph.initializer} == {TensorProto.FLOAT16}
    assert created.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert created.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    near = compare(created.SerializeToString(), images, run_all(network().SerializeToString(), images))
    assert 0 < near.mae < 0.002


def test_compact_file_round_trip(images) -> None:
    rounded = network()
    for each in rounded.graph.initializer:
        values = numpy_helper.to_array(each)
        if values.dtype == np.float32:
            each.CopyFrom(numpy_helper.from_array(values.astype(np.float16).astype(np.float32), each.name))
    small = compact(rounded)
    assert len(small.SerializeToString()) < 0.7 * len(rounded.SerializeToString())
    reference = run_all(rounded.SerializeToString(), images)
    assert compare(small.SerializeToString(), images, reference).mae < 1e-6
    again = {each.name: numpy_helper.to_array(each) for each in expanded(small).graph.initializer}
    for each in rounded.graph.initializer:
        np.testing.assert_array_equal(again[each.name], numpy_helper.to_array(each))


def test_int8_excludes_layers_after_last_relu(images) -> None:
    quantizer = Quantizer(network(), images)
    data = quantizer.quantized()
    created = onnx.load_from_string(data)
    eaters = {node.input[1] for node in created.graph.node if node.op_type == "Conv"}
    kinds = {each.name: each.data_type for each in created.graph.initializer}
    assert kinds["w3"] == TensorProto.FLOAT
    assert "w3" in eaters
    assert not {"w1", "w2"} & eaters
    assert not any(node.op_type == "Relu" for node in created.graph.node), "a range before a Relu wastes its steps"
    near = compare(data, images, run_all(network().SerializeToString(), images))
    assert 0 < near.mae < 0.02
    assert near.iou > 0.95


def test_harmful_convolution_stays_in_float(images) -> None:
    loud = network(loud=500.0)
    quantizer = Quantizer(loud, images)
    reference = run_all(loud.SerializeToString(), images)
    found = quantizer.harmful(images, limit=0.02)
    assert found == ["conv2"]
    assert compare(quantizer.quantized(floats=found), images, reference).mae < 0.02
    assert compare(quantizer.quantized(), images, reference).mae > 0.05


def test_images_come_from_one_side_of_split(tmp_path: Path) -> None:
    for number in range(120):
        cv2.imwrite(str(tmp_path / f"p{number}.jpg"), np.full((8, 8, 3), number, np.uint8))
    assert [each.shape for each in images_of(tmp_path, 3, held_out=True, size=16)] == [(1, 3, 16, 16)] * 3
    with pytest.raises(SystemExit, match="PICTURES="):
        images_of(tmp_path, 100, held_out=True, size=16)


def test_manifest_variants_are_replaced(tmp_path: Path, images) -> None:
    """Written twice, for two networks: the second leaves nothing of the first."""
    manifest = tmp_path / "manifest.toml"
    manifest.write_text(ENTRY.format(sha256="0" * 64))
    for loud in (1.0, 1.5):
        plain, variant = network(loud).SerializeToString(), half(network(loud)).SerializeToString()
        (tmp_path / "tiny.onnx").write_bytes(plain)
        (tmp_path / "tiny.fp16.onnx").write_bytes(variant)
        near = compare(variant, images, run_all(plain, images))
        text = manifest.read_text()
        head = text.split("[models.other]")[0]
        (tmp_path / "head.toml").write_text(head)
        entry = read_manifest(tmp_path / "head.toml")["tiny"]
        manifest.write_text(rewritten(text, entry, plain, variant_lines(entry, "fp16", variant, 1, near)))
    text = manifest.read_text()
    assert text.count("[models.tiny.variants.fp16]") == 1
    assert text.startswith("\n# a comment\n[models.tiny]")
    assert text.count("1" * 64) == 1
    manifest.write_text(text.split("[models.other]")[0])
    model, small = load_model("tiny", tmp_path), load_model("tiny", tmp_path, precision="fp16")
    assert model.entry.sha256 == hashlib.sha256(plain).hexdigest()
    assert small.entry.parity is not None
    assert small.entry.parity.iou == pytest.approx(near.iou, abs=1e-4)
    assert small.entry.golden is not None
    assert small.entry.golden.grid != ((0.0,) * 8,) * 8
    assert golden_input(small.entry.input).shape == (3, SIDE, SIDE)
