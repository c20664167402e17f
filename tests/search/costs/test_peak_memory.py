"""Peak memory against enumeration, and against tensors counted in the finished ONNX graph."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from models.layers import LayerSpec, tensor_shapes
from models.onnx.builder import build_onnx, build_slice
from models.onnx.export import subnet_onnx
from models.onnx.quantize import quantize_onnx
from models.spaces.plan import layer_plan
from models.supernet.extraction import extract
from models.supernet.supernet import Supernet, initialize
from search.costs.peak_memory import PeakModel, peak_memory_costs
from search.evolution.problem import SubnetProblem
from search.evolution.run import search_subnet
from tests.brute import all_genes
from tests.fakes import LinearAccuracy
from tests.models.onnx.test_onnx_builder import images_of, tensors_of
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

SPACES = pytest.mark.parametrize("space", [DEBUG, RESNET], ids=lambda space: space.family)
IN_PLACE = {"Add", "Clip", "Flatten", "HardSigmoid", "HardSwish", "Mul", "Relu", "Reshape"}


@pytest.mark.slow
@SPACES
def test_it_is_the_largest_layer_of_every_network(space):
    genes = all_genes(space)
    by_hand = [
        max(4 * layer.live_values for layer in layer_plan(space, arch))
        for arch in space.decode(genes)
    ]
    assert peak_memory_costs(space).evaluate(genes).tolist() == by_hand


@SPACES
def test_its_floor_is_that_of_enumeration(space):
    model = peak_memory_costs(space)
    costs = model.evaluate(all_genes(space))
    assert model.floor() == costs.min()
    uneven = PeakModel.compile(space, lambda layer: layer.params % 101)
    assert uneven.floor() == uneven.evaluate(all_genes(space)).min()


@pytest.mark.parametrize("values", [2, 5, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_its_floor_is_exact_whatever_layers_cost(values, seed):
    rng = np.random.default_rng(seed)
    known: dict[str, float] = {}
    model = PeakModel.compile(
        DEBUG, lambda layer: known.setdefault(layer.key, float(rng.integers(values)))
    )
    assert model.floor() == model.evaluate(all_genes(DEBUG)).min()


def test_its_floor_where_layers_cost_the_same_or_nothing():
    assert PeakModel.compile(DEBUG, lambda layer: 7.0).floor() == 7.0
    assert PeakModel.compile(DEBUG, lambda layer: 0.0).floor() == 0.0
    avoidable = PeakModel.compile(
        DEBUG, lambda layer: layer.name.startswith("stage") and layer.kernel == 3
    )
    assert avoidable.evaluate(all_genes(DEBUG)).min() == avoidable.floor() == 0.0


@SPACES
def test_the_sum_that_stands_for_a_budget_is_met_by_the_same_networks(space):
    model, genes = peak_memory_costs(space), all_genes(space)
    costs = model.evaluate(genes)
    for budget in np.unique(costs):
        for nearby in (np.nextafter(budget, 0), budget, np.nextafter(budget, np.inf)):
            sums, most = model.within(float(nearby))
            assert ((sums.evaluate(genes) <= most) == (costs <= nearby)).all()


def test_a_part_of_the_space_costs_the_same():
    part = FASHION_LIKE.at([20, 28])
    genes = part.sample(50, np.random.default_rng(0))
    whole = peak_memory_costs(FASHION_LIKE)
    expected = whole.evaluate(FASHION_LIKE.encode(part.decode(genes)))
    assert (whole.at(part).evaluate(genes) == expected).all()


@pytest.mark.slow
@SPACES
def test_search_finds_the_optimum_within_it(space):
    genes, predictor = all_genes(space), LinearAccuracy(space, 2, 0.3)
    model = peak_memory_costs(space)
    costs, top1 = model.evaluate(genes), predictor.predict(genes)
    for limit in np.quantile(costs, [0.0, 0.2, 0.7]).tolist():
        found = search_subnet(space, predictor, {"m": model}, {"m": limit}, 0)
        assert found.top1 == top1[costs <= limit].max()
        assert found.costs["m"] <= limit
    assert SubnetProblem(space, predictor, {"m": model}, {}).sums == {}


@SPACES
def test_it_is_what_the_graph_keeps_alive(space):
    """Twin: walk the ONNX nodes, free each tensor after its last use, note the fullest moment."""
    supernet = Supernet(space)
    initialize(supernet, 0)
    rng = np.random.default_rng(0)
    model = peak_memory_costs(space)
    for arch in [space.largest, space.smallest, *space.decode(space.sample(8, rng))]:
        file = subnet_onnx(supernet, arch, extract(supernet, arch), {})
        alive = _most_alive_bytes(
            onnx.shape_inference.infer_shapes(onnx.load_from_string(file)).graph
        )
        predicted = float(model.evaluate(space.encode([arch]))[0])
        # The graph also holds the small vectors of squeeze-and-excitation for a moment.
        vectors = 4 * 4 * max(layer.mid_channels for layer in layer_plan(space, arch))
        assert predicted <= alive <= predicted + vectors


BLOCK = LayerSpec(
    name="b", kind="bottleneck", in_channels=8, out_channels=8, in_size=6, mid_channels=4,
    kernel=3, act="relu", skip=True,
)  # fmt: skip
WIDE = replace(BLOCK, skip=False, out_channels=12)
MBCONV = replace(BLOCK, kind="mbconv", act="hswish", mid_channels=24)
ALIKE = replace(MBCONV, mid_channels=8)
"""An inverted bottleneck without expansion."""


@pytest.mark.parametrize(
    "layer",
    [
        BLOCK,
        replace(BLOCK, mid_channels=16),
        WIDE,
        replace(WIDE, stride=2),
        replace(WIDE, stride=2, mid_channels=20),
        replace(WIDE, stride=2, in_channels=40),
        MBCONV,
        replace(MBCONV, skip=False, stride=2),
        replace(MBCONV, skip=False, out_channels=40),
        ALIKE,
        replace(ALIKE, skip=False),
        replace(ALIKE, skip=False, out_channels=40),
        replace(ALIKE, skip=False, out_channels=2, stride=2),
        replace(BLOCK, kind="conv", mid_channels=0, norm=True),
        replace(BLOCK, kind="conv", mid_channels=0, skip=False, out_channels=3, stride=2),
        replace(BLOCK, kind="maxpool", mid_channels=0, skip=False, act=None, stride=2),
    ],
    ids=lambda layer: layer.key,
)
def test_a_layer_alone_keeps_alive_what_its_graph_does(layer):
    zeros = {n: np.zeros(shape, np.float32) for n, shape in tensor_shapes([layer]).items()}
    graph = onnx.load_from_string(build_slice([layer], zeros))
    assert 4 * layer.live_values == _most_alive_bytes(
        onnx.shape_inference.infer_shapes(graph).graph
    )


@pytest.mark.slow
@pytest.mark.parametrize("space", [DEBUG, FASHION_LIKE, RESNET], ids=lambda space: space.name)
def test_at_int8_it_is_what_the_runtime_keeps_alive(space):
    """Twin: the int8 graph, its operators fused as the runtime does, walked as above."""
    rng = np.random.default_rng(1)
    model = peak_memory_costs(space, "int8")
    for arch in [space.smallest, *space.decode(space.sample(2, rng))]:
        plan = layer_plan(space, arch)
        quantized = quantize_onnx(build_onnx(plan, tensors_of(plan), {}), [images_of(plan, 2)])
        # It computes a hard swish as x times its gate, which needs x once more.
        in_place = IN_PLACE - {"HardSwish"}
        alive = _most_alive_bytes(_fused(onnx.load_from_string(quantized)), in_place)
        predicted = float(model.evaluate(space.encode([arch]))[0])
        # The graph also holds the small vectors of squeeze-and-excitation for a moment.
        vectors = 4 * 4 * max(layer.mid_channels for layer in plan)
        assert predicted <= alive <= predicted + vectors
        assert predicted < peak_memory_costs(space).evaluate(space.encode([arch]))[0]


FUSED_OPS = {"Add", "AveragePool", "Conv", "Gemm", "GlobalAveragePool", "MaxPool"}
"""Of which ONNX Runtime makes int8 operators together with the conversions around them."""


def _fused(model):
    """The int8 graph as it runs: values between int8 operators exist at int8 only."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    constants = {tensor.name for tensor in graph.initializer}
    back = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    there = {n.input[0]: n.output[0] for n in graph.node if n.op_type == "QuantizeLinear"}
    nodes, dropped, floats = [], set(), set()
    for node in graph.node:
        if node.op_type in FUSED_OPS and ".se_" not in node.name:
            for place, name in enumerate(node.input):
                node.input[place] = back.get(name, name)
            if (result := there.get(node.output[0])) is not None:
                dropped.add(result)
                node.output[0] = result
        floats |= set(node.input)
    for node in graph.node:
        reads_constant = node.op_type == "DequantizeLinear" and node.input[0] in constants
        merged = node.op_type == "QuantizeLinear" and node.output[0] in dropped
        unread = node.op_type == "DequantizeLinear" and node.output[0] not in floats
        if not (reads_constant or merged or unread):
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return graph


def _most_alive_bytes(graph, in_place=IN_PLACE):
    values = {}
    for info in [*graph.value_info, *graph.input, *graph.output]:
        kind = info.type.tensor_type
        count = int(np.prod([d.dim_value or 1 for d in kind.shape.dim]))  # batch is symbolic
        values[info.name] = count * onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
    constants = {tensor.name for tensor in graph.initializer}
    last_use = {name: i for i, node in enumerate(graph.node) for name in node.input}
    alive, most = {graph.input[0].name}, 0
    for index, node in enumerate(graph.node):
        tensors = [name for name in node.input if name and name not in constants]
        (out,) = node.output
        # In place: the first input of the same size that nothing reads later becomes the output.
        reused = [
            name
            for name in tensors
            if node.op_type in in_place and values[name] == values[out] and last_use[name] == index
        ]
        alive = (alive - set(reused[:1])) | {out}
        most = max(most, sum(values[name] for name in alive))
        alive = {name for name in alive if last_use.get(name, len(graph.node)) > index}
    return most
