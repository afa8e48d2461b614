"""A teacher's ONNX graph in torch equals ONNX Runtime. Needs torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is installed for training only")
onnx = pytest.importorskip("onnx", reason="onnx is installed for training only")

import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from models.training.onnx_torch import OnnxNetwork  # noqa: E402
from models.training.train import Teacher  # noqa: E402


def saved(nodes: list[onnx.NodeProto], arrays: dict[str, np.ndarray], path: Path) -> Path:
    image, matte = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("image", "matte"))
    weights = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "small", [image], [matte], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a graph with every operation of U-2-Net: pooling, dilated convolution, upsampling, concatenation."""
    rng = np.random.default_rng(1)
    arrays = {
        "w1": rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32),
        "b1": rng.normal(0, 0.3, 4).astype(np.float32),
        "w2": rng.normal(0, 0.3, (4, 4, 3, 3)).astype(np.float32),
        "b2": rng.normal(0, 0.3, 4).astype(np.float32),
        "w3": rng.normal(0, 0.3, (1, 8, 1, 1)).astype(np.float32),
        "b3": rng.normal(0, 0.3, 1).astype(np.float32),
        "scale": np.array([1, 1, 2, 2], np.float32),
    }
    shape = {"strides": [1, 1], "group": 1}
    three = {**shape, "kernel_shape": [3, 3]}
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["a"], pads=[1] * 4, dilations=[1, 1], **three),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        helper.make_node("Conv", ["c", "w2", "b2"], ["d"], pads=[2] * 4, dilations=[2, 2], **three),
        helper.make_node("Resize", ["d", "", "scale"], ["e"], mode="linear"),
        helper.make_node("Add", ["e", "b"], ["f"]),
        helper.make_node("Concat", ["f", "b"], ["g"], axis=1),
        helper.make_node(
            "Conv", ["g", "w3", "b3"], ["h"], pads=[0] * 4, dilations=[1, 1], kernel_shape=[1, 1], **shape
        ),
        helper.make_node("Sigmoid", ["h"], ["i"]),
        helper.make_node("Identity", ["i"], ["matte"]),
    ]
    return saved(nodes, arrays, tmp_path / "small.onnx")


def test_torch_graph_equals_onnx_runtime(small: Path) -> None:
    image = np.random.default_rng(2).normal(size=(2, 3, 32, 32)).astype(np.float32)
    (expected,) = onnxruntime.InferenceSession(str(small)).run(None, {"image": image})
    with torch.no_grad():
        np.testing.assert_allclose(OnnxNetwork(small)(torch.from_numpy(image)).numpy(), expected, atol=1e-5)


OTHERS = {
    "Softmax": helper.make_node("Softmax", ["image"], ["matte"]),
    "Resize": helper.make_node("Resize", ["image", "", "scale"], ["matte"], mode="nearest"),
    "MaxPool": helper.make_node("MaxPool", ["image"], ["matte"], kernel_shape=[3, 3], strides=[1, 1]),
    "Add": helper.make_node("Add", ["image", "scale"], ["matte"]),
    "Conv": helper.make_node("Conv", ["image", "w"], ["matte"], kernel_shape=[1, 1], pads=[0, 1, 0, 0]),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_unknown_operator_is_refused(tmp_path: Path, kind: str) -> None:
    arrays = {"scale": np.array([1, 1, 2, 2], np.float32), "w": np.ones((1, 3, 1, 1), np.float32)}
    with pytest.raises(ValueError, match=kind):
        OnnxNetwork(saved([OTHERS[kind]], arrays, tmp_path / "other.onnx"))


def test_teacher_input_enlarges_small_images_only(small: Path) -> None:
    teacher, network = Teacher(small, torch.device("cpu")), OnnxNetwork(small)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        enlarged = torch.nn.functional.interpolate(image, size=(288, 288), mode="bilinear")
        expected = torch.nn.functional.interpolate(network(enlarged), size=(64, 64), mode="bilinear")
        torch.testing.assert_close(teacher(image), expected, atol=2e-2, rtol=0)  # computed in bfloat16
        large = torch.randn(1, 3, 320, 320)
        torch.testing.assert_close(teacher(large), network(large), atol=2e-2, rtol=0)
