"""Layers models of TensorFlow.js, as the npm package ``nsfwjs`` contains them.

The package stores two kinds of JavaScript modules: the topology as an object literal, and the weights as base64 text.
Both are parsed; no code runs.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clearcut.imaging.types import F32

_EXPORT = re.compile(r"\bexports=(?=[{\"])")
_TOKEN = re.compile(
    r'(?P<text>"(?:[^"\\]|\\.)*")|(?P<bool>![01])|(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)'
    r"|(?P<word>[A-Za-z_$][\w$]*)|(?P<mark>[{}\[\]:,])|\s+"
)
_WORDS = ("null", "true", "false")
_DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "uint8": np.dtype("u1"), "uint16": np.dtype("<u2")}


class ModelFormatError(Exception):
    """The files are not a layers model, or use a part of the format that is not supported."""


def parse_topology(module: bytes) -> dict[str, Any]:
    """Return the exported object literal of a module: ``modelTopology`` and ``weightsManifest``.

    Raises:
        ModelFormatError: the module exports no object literal of texts, numbers, booleans, objects and arrays.
    """
    text = _exported(module)
    parts: list[str] = []
    position = depth = 0
    while True:
        match = _TOKEN.match(text, position)
        if match is None:
            raise ModelFormatError(f"unexpected text {text[position : position + 20]!r} in the topology")
        position = match.end()
        parts.append(_json(match, text[position : position + 1]))
        if match["mark"]:
            depth += (match["mark"] in "{[") - (match["mark"] in "}]")
            if not depth:
                break
    try:
        topology = json.loads("".join(parts))
    except ValueError as exc:
        raise ModelFormatError(f"the topology is no object literal: {exc}") from None
    if not isinstance(topology, dict):
        raise ModelFormatError("the topology is no object")
    return topology


def _json(match: re.Match[str], following: str) -> str:
    """Return a JavaScript token as JSON."""
    if match["bool"]:
        return "true" if match["bool"] == "!0" else "false"
    if match["number"]:
        return repr(float(match["number"])) if not match["number"].lstrip("-").isdigit() else match["number"]
    if match["word"] and match["word"] not in _WORDS:
        if following != ":":
            raise ModelFormatError(f"unexpected word {match['word']!r} in the topology")
        return f'"{match["word"]}"'
    return match[0]


def parse_weights(manifest: Sequence[Mapping[str, Any]], modules: Sequence[bytes]) -> dict[str, F32]:
    """Return the weights by name, with quantized ones restored as ``min + scale * value``.

    Args:
        manifest: ``weightsManifest`` of the topology.
        modules: the modules of the weight files, in the order of the manifest.

    Raises:
        ModelFormatError: a module contains no base64 text, or the sizes differ from the manifest.
    """
    try:
        data = b"".join(base64.b64decode(_exported(module).split('"')[1], validate=True) for module in modules)
        weights, offset = {}, 0
        for entry in (entry for group in manifest for entry in group["weights"]):
            quantization = entry.get("quantization", {})
            dtype = _DTYPES[quantization.get("dtype", entry["dtype"])]
            shape = tuple(int(side) for side in entry["shape"])
            values = np.frombuffer(data, dtype, math.prod(shape), offset).astype(np.float32)
            offset += math.prod(shape) * dtype.itemsize
            if quantization:
                values = values * np.float32(quantization["scale"]) + np.float32(quantization["min"])
            weights[str(entry["name"])] = values.reshape(shape)
    except (KeyError, ValueError, TypeError, IndexError, binascii.Error) as exc:
        raise ModelFormatError(f"the weights do not match the manifest: {exc}") from None
    if offset != len(data):
        raise ModelFormatError(f"the weight files have {len(data)} bytes, and the manifest lists {offset}")
    return weights


def _exported(module: bytes) -> str:
    """Return the text of a module from the exported literal on."""
    text = module.decode("utf-8", errors="replace")
    matches = list(_EXPORT.finditer(text))
    if not matches:
        raise ModelFormatError("the module exports no object and no text")
    return text[matches[-1].end() :]
