"""A small moderation model for tests. The brighter the image, the higher its score for ``bright``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
from onnx import TensorProto, helper

SIDE = 16


def bright_or_dark(logits: bool = False) -> bytes:
    """Return an ONNX file: f32[1,3,S,S] in 0..1 to f32[1,2], (mean, 1 - mean), times 10 for logits."""
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


def install_moderation(
    folder: Path, *, data: bytes | None = None, refuse: str = "bright = 0.5", **changed: str
) -> None:
    """Write the model and its ``[moderation]`` manifest table into ``folder``. ``changed`` replaces manifest values."""
    data = bright_or_dark() if data is None else data
    (folder / "moderation.onnx").write_bytes(data)
    values = {
        "file": '"moderation.onnx"', "sha256": f'"{hashlib.sha256(data).hexdigest()}"', "output": '"probability"',
        "labels": '["bright", "dark"]',
    } | changed  # fmt: skip
    lines = [f"{name} = {value}" for name, value in values.items()]
    input_table = ["[moderation.input]", f"side = {SIDE}", "divide_by = 255", "mean = [0, 0, 0]", "std = [1, 1, 1]"]
    text = "\n".join(["[moderation]", *lines, "[moderation.refuse]", refuse, *input_table])
    (folder / "manifest.toml").write_text(text)
