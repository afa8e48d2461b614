"""Changes to an exported network: both mirror views in one graph, 16-bit computation, 16-bit storage.

Works on the ONNX file alone, whatever network it holds, as long as it has one input f32[N,3,S,S] and its first output
f32[N,1,S,S] comes from a Sigmoid. Needs no torch.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

_BOTH, _LOGITS = "views_both", "views_logits"
_STORED, _COMPACT_FROM = "_f16", 64


def mirrored(model: ModelProto) -> ModelProto:
    """Return one graph that averages the logits of the image and its mirror image. The weights are stored once.

    The two views form one batch, so the graph's own nodes stay unchanged.

    Raises:
        ValueError: The first output does not come from a Sigmoid, or the batch is not dynamic.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    image, answer = graph.input[0], graph.output[0]
    last = next((node for node in graph.node if answer.name in node.output), None)
    if last is None or last.op_type != "Sigmoid":
        raise ValueError("expected a graph whose output comes from a Sigmoid")
    if image.type.tensor_type.shape.dim[0].HasField("dim_value"):
        raise ValueError("expected a graph of any batch size")
    name = image.name
    for node in graph.node:
        for place, each in enumerate(node.input):
            if each == name:
                node.input[place] = _BOTH
    logits, last.input[0] = last.input[0], _LOGITS
    constants = {
        "views_from": np.array([-1], np.int64),
        "views_to": np.array([np.iinfo(np.int64).min], np.int64),
        "views_axis": np.array([3], np.int64),
        "views_half": np.array(0.5, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in constants.items())
    turn = ["views_from", "views_to", "views_axis", "views_from"]
    before = [
        helper.make_node("Slice", [name, *turn], ["views_turned"], "views_turn"),
        helper.make_node("Concat", [name, "views_turned"], [_BOTH], "views_join", axis=0),
    ]
    after = [
        helper.make_node("Split", [logits], ["views_one", "views_two"], "views_part", axis=0),
        helper.make_node("Slice", ["views_two", *turn], ["views_back"], "views_turn_back"),
        helper.make_node("Add", ["views_one", "views_back"], ["views_sum"], "views_add"),
        helper.make_node("Mul", ["views_sum", "views_half"], [_LOGITS], "views_mean"),
    ]
    place = list(graph.node).index(last)
    nodes = [*before, *list(graph.node)[:place], *after, *list(graph.node)[place:]]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]  # contains the old batch size
    onnx.checker.check_model(copy)
    return copy


def half(model: ModelProto) -> ModelProto:
    """Return the graph with 16-bit floating-point computation. Input and output stay f32."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    copy = ModelProto()
    copy.CopyFrom(model)
    # The converter excludes Resize for old runtimes. CUDA supports it, and casts around each would cost more.
    blocked = [each for each in DEFAULT_OP_BLOCK_LIST if each != "Resize"]
    # The converter appends its casts after the nodes that read them.
    halved: ModelProto = convert_float_to_float16(copy, keep_io_types=True, op_block_list=blocked)
    OnnxModel.graph_topological_sort(halved.graph)
    for node in (*halved.graph.input, *halved.graph.output):
        if node.type.tensor_type.elem_type != TensorProto.FLOAT:
            raise RuntimeError(f"{node.name} is no longer f32")
    onnx.checker.check_model(halved)
    return halved


def compact(model: ModelProto) -> ModelProto:
    """Weights of 64 values or more stored in 16 bits; a Cast in front of each turns them into f32 when a session loads.

    Halves the file. The network computes in f32 as before, with weights rounded to 11 significant bits.

    Raises:
        ValueError: a weight is too large for 16 bits.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    casts = []
    for initializer in graph.initializer:
        values = numpy_helper.to_array(initializer)
        if values.dtype != np.float32 or values.size < _COMPACT_FROM:
            continue
        stored = values.astype(np.float16)
        if not np.isfinite(stored).all():
            raise ValueError(f"{initializer.name} has values beyond 65504")
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(stored, name + _STORED))
        casts.append(helper.make_node("Cast", [name + _STORED], [name], f"load {name}", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(copy)
    return copy


def expanded(model: ModelProto) -> ModelProto:
    """The reverse of ``compact``: every weight is an f32 constant again."""
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    arrays = {each.name: each for each in graph.initializer}
    remaining = []
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0].endswith(_STORED) and node.input[0] in arrays:
            values = numpy_helper.to_array(arrays[node.input[0]]).astype(np.float32)
            arrays[node.input[0]].CopyFrom(numpy_helper.from_array(values, node.output[0]))
        else:
            remaining.append(node)
    del graph.node[:]
    graph.node.extend(remaining)
    onnx.checker.check_model(copy)
    return copy
