"""A small layers model in the form of the npm package ``nsfwjs``, with scores that TensorFlow.js has computed."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np

SIDE = 16
LABELS = ("plain", "odd", "rude")
SCORES = (0.1877729296684265, 0.4646066129207611, 0.3476203978061676)
"""Scores of ``image`` with TensorFlow.js 4.22.0 under Node."""
_CONV = {
    "kernel_size": [3, 3], "data_format": "channels_last", "dilation_rate": [1, 1], "activation": "linear",
    "use_bias": False,
}  # fmt: skip
_LAYERS: list[tuple[str, str, dict[str, Any], list[str]]] = [
    ("input", "InputLayer", {"batch_input_shape": [None, SIDE, SIDE, 3], "dtype": "float32"}, []),
    ("pad", "ZeroPadding2D", {"padding": [[0, 1], [0, 1]], "data_format": "channels_last"}, ["input"]),
    ("conv", "Conv2D", {**_CONV, "filters": 4, "strides": [2, 2], "padding": "valid"}, ["pad"]),
    ("norm", "BatchNormalization", {"axis": -1, "epsilon": 0.001}, ["conv"]),
    ("relu6", "ReLU", {"max_value": 6, "negative_slope": 0, "threshold": 0}, ["norm"]),
    ("depth", "DepthwiseConv2D", {**_CONV, "strides": [1, 1], "padding": "same", "use_bias": True}, ["relu6"]),
    ("sum", "Add", {}, ["relu6", "depth"]),
    ("pool", "AveragePooling2D", {"pool_size": [4, 4], "strides": [4, 4], "padding": "valid"}, ["sum"]),
    ("flat", "Flatten", {"data_format": "channels_last"}, ["pool"]),
    ("drop", "Dropout", {"rate": 0.5}, ["flat"]),
    ("dense", "Dense", {"units": 5, "activation": "relu", "use_bias": True}, ["drop"]),
    ("scores", "Dense", {"units": 3, "activation": "softmax", "use_bias": True}, ["dense"]),
]
_SHAPES = {
    "conv/kernel": (3, 3, 3, 4), "norm/gamma": (4,), "norm/beta": (4,), "norm/moving_mean": (4,),
    "norm/moving_variance": (4,), "depth/depthwise_kernel": (3, 3, 4, 1), "depth/bias": (4,), "dense/kernel": (16, 5),
    "dense/bias": (5,), "scores/kernel": (5, 3), "scores/bias": (3,),
}  # fmt: skip


def image() -> np.ndarray:
    """Return the input, f32[1,3,16,16]."""
    values = np.cos(np.arange(SIDE * SIDE * 3) * 0.7).astype(np.float32)
    return values.reshape(1, SIDE, SIDE, 3).transpose(0, 3, 1, 2)


def modules(**quantized: tuple[float, float]) -> tuple[bytes, bytes]:
    """Return the modules of the topology and the weights.

    Args:
        quantized: (minimum, scale) of weights that are stored as bytes; ``/`` in their names is ``__``.
    """
    layers = [
        {
            "name": name, "class_name": kind, "config": {"name": name, **config},
            "inbound_nodes": [[[each, 0, 0, {}] for each in inputs]] if inputs else [],
        }
        for name, kind, config, inputs in _LAYERS
    ]  # fmt: skip
    config = {"name": "m", "layers": layers, "input_layers": [["input", 0, 0]], "output_layers": [["scores", 0, 0]]}
    data, specs, index = b"", [], 0
    for name, shape in _SHAPES.items():
        count = math.prod(shape)
        values = np.sin(np.arange(index, index + count))
        index += count
        if name.endswith("variance"):
            values = 1 + 0.5 * np.abs(values)
        elif name.endswith("gamma"):
            values = 3 * values + 4
        spec: dict[str, Any] = {"name": name, "shape": list(shape), "dtype": "float32"}
        if (pair := quantized.get(name.replace("/", "__"))) is not None:
            spec["quantization"] = {"min": pair[0], "scale": pair[1], "dtype": "uint8"}
            data += np.clip(np.round((values - pair[0]) / pair[1]), 0, 255).astype(np.uint8).tobytes()
        else:
            data += values.astype("<f4").tobytes()
        specs.append(spec)
    topology = {
        "modelTopology": {"keras_version": "2.2.4", "model_config": {"class_name": "Model", "config": config}},
        "weightsManifest": [{"paths": ["group1"], "weights": specs}],
    }
    text = base64.b64encode(data).decode()
    return f"!function(e,a){{a.exports={_minify(topology)}}}".encode(), f'!function(h){{h.exports="{text}"}}'.encode()


def _minify(value: Any) -> str:
    """Return a value as a JavaScript literal, as minifiers write it."""
    if isinstance(value, dict):
        keys = {key: key if key.isidentifier() else json.dumps(key) for key in value}
        return "{" + ",".join(f"{keys[key]}:{_minify(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_minify, value)) + "]"
    if isinstance(value, bool):
        return "!0" if value else "!1"
    text = json.dumps(value)
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
