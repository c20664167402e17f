"""What phones' accelerators take of a file is what ONNX Runtime's own checker says of it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnxruntime.tools.mobile_helpers import usability_checker
from onnxruntime.tools.onnx_model_utils import optimize_model

from latency_tables.benchmark.models import random_tensors
from models.onnx.accelerators import provider_coverage
from models.onnx.builder import build_onnx
from models.onnx.export import fix_batch
from models.onnx.quantize import quantize_onnx
from models.spaces.plan import layer_plan
from tests.spaces import DEBUG, FASHION_LIKE, RESNET


def model_of(space, precision, batch):
    plan = layer_plan(space, space.smallest)
    model = build_onnx(plan, random_tensors(plan), {"who": "we"})
    if precision == "int8":
        shape = (2, plan[0].in_channels, plan[0].in_size, plan[0].in_size)
        model = quantize_onnx(model, [np.random.default_rng(0).standard_normal(shape, np.float32)])
    return model if batch is None else fix_batch(model, batch)


def checked_by_onnxruntime(model, folder):
    """The figures of its command line: of the graph as a session has optimized it."""
    paths = folder / "model.onnx", folder / "optimized.onnx"
    paths[0].write_bytes(model)
    optimize_model(*paths)
    graph = onnx.shape_inference.infer_shapes(onnx.load(paths[1]))
    for found in (
        usability_checker.check_nnapi_partitions(graph, True),
        usability_checker.check_coreml_partitions(graph, True, "coreml_supported_mlprogram_ops.md"),
        usability_checker.check_coreml_partitions(
            graph, True, "coreml_supported_neuralnetwork_ops.md"
        ),
    ):
        yield (
            found.num_nodes,
            found.num_supported_nodes,
            found.num_partitions,
            found.suitability().name.lower(),
        )


@pytest.mark.parametrize("batch", [None, 1])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("space", [DEBUG, RESNET], ids=lambda space: space.name)
def test_the_figures_are_those_of_the_checker_on_a_session_s_graph(
    space, precision, batch, tmp_path
):
    model = model_of(space, precision, batch)
    found = [
        (each["nodes"], each["nodes_taken"], each["partitions"], each["suited"])
        for each in provider_coverage(model)
    ]
    assert found == list(checked_by_onnxruntime(model, tmp_path))


def test_a_fixed_batch_is_what_phones_need():
    free = {
        each["provider"]: each for each in provider_coverage(model_of(FASHION_LIKE, "fp32", None))
    }
    fixed = {
        each["provider"]: each for each in provider_coverage(model_of(FASHION_LIKE, "fp32", 1))
    }
    assert list(fixed) == ["NNAPI", "CoreML MLProgram", "CoreML NeuralNetwork"]
    for each in free.values():
        assert (each["nodes_taken"], each["suited"]) == (0, "no")
        assert each["dynamic_nodes"] == each["nodes"]
    coreml = fixed["CoreML MLProgram"]
    assert coreml["nodes_taken"] >= 0.98 * coreml["nodes"]
    assert (coreml["not_taken"], coreml["dynamic_nodes"]) == (["Flatten"], 0)
    assert fixed["NNAPI"]["not_taken"] == ["HardSigmoid"]
    assert "onnxruntime" in coreml["method"]
    assert coreml["origin"] == "estimated"


def test_a_file_is_fixed_in_its_shapes_alone():
    model = model_of(DEBUG, "fp32", None)
    fixed = onnx.load_from_string(fix_batch(model, 3))
    onnx.checker.check_model(fixed, full_check=True)
    for value in (*fixed.graph.input, *fixed.graph.output):
        (batch, *_) = value.type.tensor_type.shape.dim
        assert (batch.dim_value, batch.dim_param) == (3, "")
        batch.dim_param = "batch"
    assert fixed.SerializeToString(deterministic=True) == model
