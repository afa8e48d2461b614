"""A published network's ONNX graph as a torch module, so that a teacher runs where the student trains.

Supports the operations of U-2-Net and ISNet graphs with a fixed input size (convolution, pooling, bilinear resize and
so on) and refuses anything else. Casts are dropped: the module computes in the dtype of its weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F


class OnnxNetwork(nn.Module):
    """f32[N,3,S,S] -> the graph's first output. Convolutions follow autocast, the final sigmoid is computed in f32."""

    def __init__(self, path: Path):
        """
        Raises:
            ValueError: the graph holds an operation that is not known here, or one in another form.
        """
        super().__init__()
        graph = onnx.load(str(path)).graph
        self._arrays = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        self._layers = nn.ModuleDict()
        nodes: list[tuple[str, tuple[str, ...], str, dict[str, Any]]] = []
        renamed: dict[str, str] = {}
        for node in graph.node:
            attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            if node.op_type == "Cast":
                source = node.input[0]
                if source in self._arrays:
                    self._arrays[node.output[0]] = self._arrays[source].astype(np.float32)
                else:
                    renamed[node.output[0]] = renamed.get(source, source)
                continue
            if not self._known(node, attributes):
                raise ValueError(f"{path}: unsupported operation {node.op_type} with {attributes}")
            if node.op_type == "Conv":
                self._layers[node.output[0].replace(".", "_")] = self._convolution(node, attributes)
            elif node.op_type == "Resize" and len(node.input) == 3:
                attributes["scale_factor"] = float(self._arrays[node.input[2]][-1])
            elif node.op_type == "Resize":
                attributes["size"] = [int(side) for side in self._arrays[node.input[3]][2:]]
            inputs = tuple(renamed.get(name, name) for name in node.input if name not in self._arrays and name)
            nodes.append((node.op_type, inputs, node.output[0], attributes))
        self._input = graph.input[0].name
        self._output = renamed.get(graph.output[0].name, graph.output[0].name)
        self._nodes = self._needed(nodes)
        self._last = {name: at for at, (_, inputs, _, _) in enumerate(self._nodes) for name in inputs}

    def _needed(self, nodes: list[Any]) -> list[tuple[str, tuple[str, ...], str, dict[str, Any]]]:
        """The nodes that the first output depends on; side outputs are left out."""
        required, needed = {self._output}, []
        for node in reversed(nodes):
            if node[2] in required:
                needed.append(node)
                required |= set(node[1])
        return needed[::-1]

    def _known(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> bool:
        kind, inputs = node.op_type, [name for name in node.input if name]
        constants = sum(name in self._arrays for name in inputs)
        if kind == "Conv":
            even = len(set(attributes.get("pads", [1, 0]))) == 1 and attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
            return even and constants == 2 and {"group", "kernel_shape", "strides", "dilations"} <= set(attributes)
        if kind == "Resize":
            linear = attributes.get("mode") == b"linear"
            half = attributes.get("coordinate_transformation_mode", b"half_pixel") == b"half_pixel"
            return linear and half and len(node.input) in (3, 4) and constants == 1
        if kind == "MaxPool":
            pads = set(attributes.get("pads", [0]))
            two = attributes["kernel_shape"] == attributes.get("strides") == [2, 2]
            return two and pads == {0} and attributes.get("ceil_mode") == 1
        if kind == "Concat":
            return attributes["axis"] == 1 and not constants
        return kind in ("Relu", "Add", "Sigmoid", "Identity") and not constants

    def _convolution(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> nn.Conv2d:
        weight, bias = (torch.from_numpy(self._arrays[name].copy()) for name in node.input[1:3])
        layer = nn.Conv2d(
            weight.shape[1] * attributes["group"],
            weight.shape[0],
            attributes["kernel_shape"],
            attributes["strides"],
            attributes["pads"][0],
            attributes["dilations"],
            attributes["group"],
        )
        layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
        return layer

    def forward(self, image: Tensor) -> Tensor:
        known: dict[str, Tensor] = {self._input: image}
        for number, (kind, inputs, output, attributes) in enumerate(self._nodes):
            known[output] = self._compute(kind, output, [known[name] for name in inputs], attributes)
            for name in inputs:
                if self._last[name] == number:
                    known.pop(name, None)
        return known[self._output]

    def _compute(self, kind: str, output: str, operands: list[Tensor], attributes: dict[str, Any]) -> Tensor:
        first = operands[0]
        if kind == "Conv":
            return self._layers[output.replace(".", "_")](first)  # type: ignore[no-any-return]
        if kind == "Relu":
            return F.relu(first)
        if kind == "MaxPool":
            return F.max_pool2d(first, 2, 2, ceil_mode=True)
        if kind == "Concat":
            return torch.cat(operands, 1)
        if kind == "Add":
            return operands[0] + operands[1]
        if kind == "Resize":
            target = {key: attributes[key] for key in ("scale_factor", "size") if key in attributes}
            return F.interpolate(first, **target, mode="bilinear", align_corners=False)
        return torch.sigmoid(first.float()) if kind == "Sigmoid" else first
