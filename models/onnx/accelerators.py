"""How much of a model a phone's accelerators take, by ONNX Runtime's own usability checker.

The checker compares the kinds of a graph's operators, and whether shapes are fixed, with what NNAPI
and CoreML support. It reads the graph as a session has it when providers choose their nodes; that
form is made here without a session and without weights, which takes a tenth of the time.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import onnx
from onnx import helper

SMALL_BYTES = 64
"""Constants up to this size are read for the shapes that they give."""
ALPHA, BETA = 1 / 6, 0.5
"""x * HardSigmoid(x) with these is HardSwish, by its definition (ONNX operators, opset 14)."""


def provider_coverage(model: bytes) -> list[dict[str, Any]]:
    """What each provider that the checker knows takes of a model of this project.

    Returns:
        A list of `provider`, `nodes`, `nodes_taken`, `partitions` (runs of neighbouring nodes that
        it takes; each costs two copies), `suited` (yes, maybe or no), `not_taken` (kinds of
        operators) and `dynamic_nodes` (nodes whose shapes are not fixed, of which it takes none).
        Empty where the installed ONNX Runtime has no checker.
    """
    try:
        import onnxruntime
        from onnxruntime.tools.mobile_helpers import usability_checker as checker
    except ImportError:
        return []
    graph = onnx.shape_inference.infer_shapes(as_session_has_it(onnx.load_from_string(model)))
    coreml = "coreml_supported_{}_ops.md"
    checks: dict[str, Callable[[], Any]] = {
        "NNAPI": lambda: checker.check_nnapi_partitions(graph, True),
        "CoreML MLProgram": lambda: checker.check_coreml_partitions(
            graph, True, coreml.format("mlprogram")
        ),
        "CoreML NeuralNetwork": lambda: checker.check_coreml_partitions(
            graph, True, coreml.format("neuralnetwork")
        ),
    }
    return [
        {
            "provider": name,
            "nodes": found.num_nodes,
            "nodes_taken": found.num_supported_nodes,
            "partitions": found.num_partitions,
            "suited": found.suitability().name.lower(),
            "not_taken": sorted(op.partition(":")[2] for op in found.unsupported_ops),
            "dynamic_nodes": found.nodes_unsupported_due_to_dynamic_input,
            "origin": "estimated",
            "method": f"usability checker of onnxruntime {onnxruntime.__version__}",
        }
        for name, found in ((name, check()) for name, check in checks.items())
    ]


def as_session_has_it(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, changed in place: without large weights, with HardSwish written out, and with a
    DequantizeLinear for each of its readers."""
    graph = model.graph
    for tensor in graph.initializer:
        if len(tensor.raw_data) > SMALL_BYTES:
            tensor.ClearField("raw_data")
    nodes = list(graph.node)
    readers = Counter(name for node in nodes for name in node.input)
    own: list[onnx.NodeProto] = []
    spare: dict[str, list[str]] = {}
    for node in nodes:
        for index, name in enumerate(node.input):
            if spare.get(name):
                node.input[index] = spare[name].pop()
        own.append(node)
        if node.op_type == "DequantizeLinear":
            for number in range(1, readers[node.output[0]]):
                again = copy.deepcopy(node)
                again.name = again.output[0] = f"{node.output[0]}.{number}"
                own.append(again)
                spare.setdefault(node.output[0], []).append(again.output[0])
    del graph.node[:]
    graph.node.extend(part for node in own for part in _written_out(node))
    return model


def _written_out(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    if node.op_type != "HardSwish":
        return [node]
    (x,), (y,) = node.input, node.output
    gate = helper.make_node("HardSigmoid", [x], [f"{y}.gate"], f"{y}.gate", alpha=ALPHA, beta=BETA)
    return [gate, helper.make_node("Mul", [x, f"{y}.gate"], [y], node.name)]
