"""Small real ONNX models for tests, with the text of their manifest entries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from clearcut.inference.model_files import ModelFile, golden_toml
from clearcut.inference.startup.self_test import record_golden

SIDE = 16

ENTRY = """
[models.{name}]
file = "{name}.onnx"
sha256 = "{sha256}"
licence = "Apache-2.0"
source = "made by a test"
output = "{output}"
[models.{name}.input]
side = {side}
divide_by = 255
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
[models.{name}.batch]
min = 1
max = {batch_max}
"""

# Red channel, through a 1 x 1 convolution. It separates the subject of the golden image from its background.
MEAN = [helper.make_node("Conv", ["image", "weights"], ["matte"], kernel_shape=[1, 1])]
# Faulty export with a fixed batch size: each item gets the mean over the batch.
MIXED = [
    helper.make_node("Conv", ["image", "weights"], ["each"], kernel_shape=[1, 1]),
    helper.make_node("ReduceMean", ["each"], ["mean"], axes=[0], keepdims=1),
    helper.make_node("Shape", ["each"], ["shape"]),
    helper.make_node("Expand", ["mean", "shape"], ["matte"]),
]
# Raises for batches larger than 1.
ONLY_ONE = [
    helper.make_node("Reshape", ["image", "single"], ["fixed"]),
    helper.make_node("Conv", ["fixed", "weights"], ["matte"], kernel_shape=[1, 1]),
]
# NaN for dark pixels.
NAN = [
    helper.make_node("Conv", ["image", "weights"], ["each"], kernel_shape=[1, 1]),
    helper.make_node("Log", ["each"], ["matte"]),
]
# Output without a channel axis.
FLAT = [
    helper.make_node("Conv", ["image", "weights"], ["each"], kernel_shape=[1, 1]),
    helper.make_node("Squeeze", ["each", "axis"], ["matte"]),
]

ModelMaker = Callable[..., Path]


def build(nodes: list[onnx.NodeProto]) -> bytes:
    """Return an ONNX file: f32[batch,3,SIDE,SIDE] to f32[batch,1,SIDE,SIDE], or without the channel axis for FLAT."""
    weights = np.array([1.0, 0.0, 0.0], np.float32).reshape(1, 3, 1, 1)
    constants: dict[str, npt.NDArray[Any]] = {
        "weights": weights,
        "single": np.array([1, 3, SIDE, SIDE], np.int64),
        "axis": np.array([1], np.int64),
    }
    shape: list[str | int | None] = ["batch", SIDE, SIDE] if nodes is FLAT else ["batch", 1, SIDE, SIDE]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("matte", TensorProto.FLOAT, shape)],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def golden_table(model: ModelFile) -> str:
    """Return the manifest's ``golden`` table of a model."""
    return golden_toml(f"models.{model.entry.name}.golden", record_golden(model))
