"""Conversion of a Keras layers model to ONNX: the layers of image classifiers such as MobileNetV2.

Images are channels-first in ONNX and channels-last in Keras. Sources: the Keras layer reference and the ONNX operator
reference, opset 17.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from clearcut.imaging.types import F32

from .tfjs import ModelFormatError

OPSET, IR_VERSION = 17, 9
Config = Mapping[str, Any]


def to_onnx(topology: Mapping[str, Any], weights: Mapping[str, F32], output: str) -> bytes:
    """Return an ONNX file from f32[1,C,H,W] to f32[1,N].

    Args:
        topology: ``modelTopology`` of a layers model with one input and one output.
        weights: by name.
        output: name of the output.

    Raises:
        ModelFormatError: the model has an unknown layer or option, or a weight is missing.
    """
    try:
        graph = _Graph(topology["model_config"]["config"], weights)
        nodes, shape, last = graph.build()
    except (KeyError, TypeError, IndexError, ValueError) as exc:
        raise ModelFormatError(f"the topology cannot be converted: {exc!r}") from None
    nodes.append(helper.make_node("Identity", [last], [output]))
    tensors = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in graph.initializers.items()]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "classifier",
            [helper.make_tensor_value_info(graph.input, TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, None])],
            tensors,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="clearcut",
    )
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


class _Graph:
    """Nodes and initializers of one model."""

    def __init__(self, config: Config, weights: Mapping[str, F32]) -> None:
        self._layers: list[Config] = list(config["layers"])
        self._last = str(config["output_layers"][0][0])
        self._weights = weights
        self._nodes: list[Any] = []
        self.initializers: dict[str, np.ndarray[Any, Any]] = {}
        self.input = str(config["input_layers"][0][0])

    def build(self) -> tuple[list[Any], list[int], str]:
        """Return (nodes, shape of the input, name of the last value)."""
        names: dict[str, str] = {}
        shape: list[int] = []
        convert: dict[str, Callable[[str, Config, list[str]], str]] = {
            "ZeroPadding2D": self._pad, "Conv2D": self._conv, "DepthwiseConv2D": self._depthwise,
            "BatchNormalization": self._normalize, "ReLU": self._relu, "Add": self._add,
            "AveragePooling2D": self._average, "Flatten": self._flatten, "Dense": self._dense,
        }  # fmt: skip
        for layer in self._layers:
            kind, config, name = layer["class_name"], layer["config"], str(layer["config"]["name"])
            inputs = [names[str(node[0])] for node in layer["inbound_nodes"][0]] if layer["inbound_nodes"] else []
            if kind == "InputLayer":
                _, height, width, channels = config["batch_input_shape"]
                shape = [1, int(channels), int(height), int(width)]
                names[name] = name
            elif kind == "Dropout":  # it has an effect only in training
                names[name] = inputs[0]
            elif kind in convert:
                if config.get("data_format", "channels_last") != "channels_last":
                    raise ModelFormatError(f"layer {name}: expected channels_last")
                names[name] = self._activate(name, config, convert[kind](name, config, inputs))
            else:
                raise ModelFormatError(f"layer {name}: {kind} is not supported")
        return self._nodes, shape, names[self._last]

    def _node(self, operator: str, name: str, inputs: list[str], **attributes: Any) -> str:
        value = f"{name}:0"
        self._nodes.append(helper.make_node(operator, inputs, [value], name=name, **attributes))
        return value

    def _constant(self, name: str, values: Any) -> str:
        self.initializers[name] = values
        return name

    def _activate(self, name: str, config: Config, value: str) -> str:
        match config.get("activation", "linear"):
            case "linear":
                return value
            case "relu":
                return self._node("Relu", f"{name}/relu", [value])
            case "softmax":
                return self._node("Softmax", f"{name}/softmax", [value], axis=-1)
            case other:
                raise ModelFormatError(f"layer {name}: activation {other} is not supported")

    def _pad(self, name: str, config: Config, inputs: list[str]) -> str:
        (top, bottom), (left, right) = config["padding"]
        pads = self._constant(f"{name}/pads", np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
        return self._node("Pad", name, [*inputs, pads])

    def _window(self, name: str, config: Config) -> dict[str, Any]:
        dilations = list(config.get("dilation_rate", [1, 1]))
        if dilations != [1, 1]:
            raise ModelFormatError(f"layer {name}: dilation is not supported")
        return {
            "strides": list(config["strides"]),
            "auto_pad": {"same": "SAME_UPPER", "valid": "VALID"}[config["padding"]],
        }

    def _conv(self, name: str, config: Config, inputs: list[str]) -> str:
        kernel = self._weights[f"{name}/kernel"].transpose(3, 2, 0, 1)
        return self._convolve(name, config, inputs, kernel, 1)

    def _depthwise(self, name: str, config: Config, inputs: list[str]) -> str:
        kernel = self._weights[f"{name}/depthwise_kernel"]
        height, width, channels, multiplier = kernel.shape
        kernel = kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
        return self._convolve(name, config, inputs, kernel, channels)

    def _convolve(self, name: str, config: Config, inputs: list[str], kernel: F32, group: int) -> str:
        arguments = [*inputs, self._constant(f"{name}/kernel", kernel)]
        if config["use_bias"]:
            arguments.append(self._constant(f"{name}/bias", self._weights[f"{name}/bias"]))
        return self._node("Conv", name, arguments, group=group, **self._window(name, config))

    def _normalize(self, name: str, config: Config, inputs: list[str]) -> str:
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        values = [self._constant(f"{name}/{part}", self._weights[f"{name}/{part}"]) for part in parts]
        return self._node("BatchNormalization", name, [*inputs, *values], epsilon=float(config["epsilon"]))

    def _relu(self, name: str, config: Config, inputs: list[str]) -> str:
        if config.get("negative_slope") or config.get("threshold"):
            raise ModelFormatError(f"layer {name}: a slope or threshold is not supported")
        if config.get("max_value") is None:
            return self._node("Relu", name, inputs)
        limits = [("low", 0.0), ("high", config["max_value"])]
        return self._node(
            "Clip", name, [*inputs, *(self._constant(f"{name}/{key}", np.array(x, np.float32)) for key, x in limits)]
        )

    def _add(self, name: str, config: Config, inputs: list[str]) -> str:
        return self._node("Add", name, inputs)

    def _average(self, name: str, config: Config, inputs: list[str]) -> str:
        return self._node(
            "AveragePool", name, inputs, kernel_shape=list(config["pool_size"]), **self._window(name, config)
        )

    def _flatten(self, name: str, config: Config, inputs: list[str]) -> str:
        rows = self._node("Transpose", f"{name}/rows", inputs, perm=[0, 2, 3, 1])
        return self._node("Flatten", name, [rows])

    def _dense(self, name: str, config: Config, inputs: list[str]) -> str:
        arguments = [*inputs, self._constant(f"{name}/kernel", self._weights[f"{name}/kernel"])]
        if config["use_bias"]:
            arguments.append(self._constant(f"{name}/bias", self._weights[f"{name}/bias"]))
        return self._node("Gemm", name, arguments)
