"""The graph built from a plan computes what torch computes, and its file is what it should be.

Tolerances: 1e-5 of the largest logit, for the same mathematics in another order (batch norms
folded, the runtime's kernels); the reference runs in float64.
"""

import dataclasses

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.errors import InputError
from models.layers import LayerSpec, tensor_shapes
from models.onnx.builder import build_onnx, build_slice
from models.spaces.arch import Arch
from models.spaces.plan import layer_plan
from models.spaces.space import SearchSpace
from models.supernet.extraction import plain
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

RELU6_RGB = dataclasses.replace(
    DEBUG,
    name="debug-relu6-rgb",
    channels=3,
    stem_stride=2,
    resolutions=(9, 16),
    first_act="relu6",
    act="relu6",
    bn_eps=1e-3,
)
"""Three channels, odd size, every activation, another epsilon."""


def tensors_of(plan, seed=0):
    """Random weights with batch norms far from the identity, negative scales among them.

    Not so far that activations grow from layer to layer: float32 itself would miss 1e-5 then.
    """
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in tensor_shapes(plan).items():
        if name.endswith("running_var"):
            value = rng.uniform(0.2, 2, shape)
        elif len(shape) == 1:
            value = rng.normal(0.2, 0.7, shape)
        else:
            value = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        tensors[name] = value.astype(np.float32)
    return tensors


def random_arch(space: SearchSpace, seed: int) -> Arch:
    return space.decode(space.sample(1, np.random.default_rng(seed)))[0]


def images_of(plan, count=1, seed=0):
    first = plan[0]
    shape = (count, first.in_channels, first.in_size, first.in_size)
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def run(model: bytes, x):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"input": x})
    return output


# -- the dumb twin: each layer written out in torch ---------------------------------------


def act(x: Tensor, kind) -> Tensor:
    match kind:
        case "relu":
            return x.clamp(min=0)
        case "relu6":
            return x.clamp(0, 6)
        case "hswish":
            return x * (x + 3).clamp(0, 6) / 6
    return x


def torch_layer(spec: LayerSpec, x: Tensor, t: dict[str, Tensor], eps: float) -> Tensor:
    n, half = spec.name, spec.kernel // 2

    def norm(y: Tensor, name: str) -> Tensor:
        mean, var = t[f"{name}.running_mean"], t[f"{name}.running_var"]
        return F.batch_norm(y, mean, var, t[f"{name}.weight"], t[f"{name}.bias"], eps=eps)

    match spec.kind:
        case "conv":
            y = F.conv2d(x, t[f"{n}.conv.weight"], stride=spec.stride, padding=half)
            return act(norm(y, f"{n}.norm") if spec.norm else y, spec.act)
        case "pool":
            return x.mean((2, 3), keepdim=True)
        case "linear":
            return F.linear(x.flatten(1), t[f"{n}.weight"], t[f"{n}.bias"])
    y = x
    if f"{n}.expand.weight" in t:
        y = act(norm(F.conv2d(y, t[f"{n}.expand.weight"]), f"{n}.expand_norm"), spec.act)
    weight = t[f"{n}.depthwise.weight"]
    y = F.conv2d(y, weight, stride=spec.stride, padding=half, groups=len(weight))
    y = act(norm(y, f"{n}.depthwise_norm"), spec.act)
    if spec.se_channels:
        z = y.mean((2, 3), keepdim=True)
        z = F.conv2d(z, t[f"{n}.se_reduce.weight"], t[f"{n}.se_reduce.bias"]).clamp(min=0)
        z = F.conv2d(z, t[f"{n}.se_expand.weight"], t[f"{n}.se_expand.bias"])
        y = y * (z + 3).clamp(0, 6) / 6
    y = norm(F.conv2d(y, t[f"{n}.project.weight"]), f"{n}.project_norm")
    return x + y if spec.skip else y


def torch_network(plan, tensors, x, eps=1e-5):
    t = {name: torch.from_numpy(value).double() for name, value in tensors.items()}
    y = torch.from_numpy(x).double()
    for spec in plan:
        y = torch_layer(spec, y, t, eps)
    return y.numpy()


def assert_close(got, expected):
    difference = np.abs(got - expected)
    scale = np.abs(expected).max()
    assert difference.max() <= 1e-5 * scale, (
        f"max {difference.max():.3g}, mean {difference.mean():.3g}, largest logit {scale:.3g}"
    )


NETWORKS = [
    *((DEBUG, DEBUG.uniform(r, d, 5, 4)) for r in DEBUG.resolutions for d in (0, 1)),
    (FASHION_LIKE, FASHION_LIKE.smallest),
    (FASHION_LIKE, FASHION_LIKE.largest),
    *((FASHION_LIKE, random_arch(FASHION_LIKE, seed)) for seed in range(4)),
    *((RELU6_RGB, RELU6_RGB.uniform(r, -1, 5, 3)) for r in RELU6_RGB.resolutions),
]


@pytest.mark.slow
@pytest.mark.parametrize(("space", "arch"), NETWORKS)
def test_computes_what_torch_computes(space, arch) -> None:
    plan = layer_plan(space, arch)
    tensors, x = tensors_of(plan), images_of(plan, count=2)
    got = run(build_onnx(plan, tensors, {}, bn_eps=space.bn_eps), x)
    assert got.shape == (2, space.classes)
    assert_close(got, torch_network(plan, tensors, x, space.bn_eps))


def test_slices_in_a_row_are_the_network() -> None:
    plan = layer_plan(FASHION_LIKE, random_arch(FASHION_LIKE, 9))
    tensors, x = tensors_of(plan), images_of(plan)
    y = x
    for start in range(0, len(plan), 3):
        y = run(build_slice(plan[start : start + 3], tensors), y)
    assert_close(y, run(build_onnx(plan, tensors, {}), x))


def test_tensor_names_are_those_of_the_extracted_subnet() -> None:
    plan = layer_plan(DEBUG, DEBUG.largest)
    state = plain(plan, DEBUG.bn_eps).state_dict()
    expected = {
        name: tuple(value.shape)
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }
    assert tensor_shapes(plan) == expected


def test_batch_is_free() -> None:
    plan = layer_plan(DEBUG, DEBUG.largest)
    model = build_onnx(plan, tensors_of(plan), {})
    x = images_of(plan, count=5)
    assert_close(run(model, x), np.concatenate([run(model, image[None]) for image in x]))


def test_file_is_valid_readable_by_old_runtimes_and_describes_itself() -> None:
    plan = layer_plan(DEBUG, DEBUG.largest)
    metadata = {"subnet_search.precision": "fp32", "subnet_search.arch": '{"resolution": 12}'}
    content = build_onnx(plan, tensors_of(plan), metadata)
    onnx.checker.check_model(content, full_check=True)
    model = onnx.load_from_string(content)
    assert model.ir_version <= 9
    assert [(entry.domain, entry.version <= 19) for entry in model.opset_import] == [("", True)]
    assert {entry.key: entry.value for entry in model.metadata_props} == metadata

    def described(value):
        tensor = value.type.tensor_type
        assert tensor.elem_type == onnx.TensorProto.FLOAT
        return value.name, [d.dim_param or d.dim_value for d in tensor.shape.dim]

    assert [described(v) for v in model.graph.input] == [("input", ["batch", 1, 12, 12])]
    assert [described(v) for v in model.graph.output] == [("logits", ["batch", 10])]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("space", [DEBUG, FASHION_LIKE, RESNET, RELU6_RGB], ids=lambda s: s.name)
def test_bytes_are_those_that_protobuf_writes(space) -> None:
    for arch in (space.smallest, space.largest, random_arch(space, 1)):
        plan = layer_plan(space, arch)
        content = build_onnx(plan, tensors_of(plan), {"b": "2", "a": "1" * 300})
        parsed = onnx.load_from_string(content)
        assert parsed.SerializeToString(deterministic=True) == content


def test_equal_arguments_give_equal_bytes() -> None:
    plan = layer_plan(DEBUG, DEBUG.largest)
    tensors = tensors_of(plan)
    backwards = dict(reversed(tensors.items()))
    first = build_onnx(plan, tensors, {"a": "1", "b": "2"})
    assert build_onnx(plan, backwards, {"b": "2", "a": "1"}) == first
    assert build_onnx(plan, tensors_of(plan, seed=1), {"a": "1", "b": "2"}) != first


def test_reads_any_float_type_and_ignores_other_tensors() -> None:
    plan = layer_plan(DEBUG, DEBUG.smallest)
    tensors = tensors_of(plan)
    wide = {name: value.astype(np.float64) for name, value in tensors.items()}
    wide["stem.norm.num_batches_tracked"] = np.array(3)
    assert build_onnx(plan, wide, {}) == build_onnx(plan, tensors, {})


def test_refuses_a_missing_tensor() -> None:
    plan = layer_plan(DEBUG, DEBUG.smallest)
    tensors = tensors_of(plan)
    del tensors["head.norm.running_var"]
    with pytest.raises(InputError, match=r"'head\.norm\.running_var' is missing; .*\(32,\)"):
        build_onnx(plan, tensors, {})


def test_refuses_a_tensor_of_another_shape() -> None:
    plan = layer_plan(DEBUG, DEBUG.smallest)
    tensors = tensors_of(plan) | {"classifier.bias": np.zeros(9)}
    with pytest.raises(InputError, match=r"classifier\.bias.*expected \(10,\), got \(9,\)"):
        build_onnx(plan, tensors, {})


def test_refuses_a_plan_that_is_not_a_network() -> None:
    plan = layer_plan(DEBUG, DEBUG.smallest)
    tensors = tensors_of(plan)
    with pytest.raises(InputError, match="whole network"):
        build_onnx(plan[:3], tensors, {})
    with pytest.raises(InputError, match="at least one layer"):
        build_slice((), tensors)
    with pytest.raises(InputError, match="'head' expects .* but 'stem' gives"):
        build_slice((plan[0], plan[-4]), tensors)
    with pytest.raises(InputError, match="distinct names"):
        build_slice((plan[-4], plan[-4]), tensors)
