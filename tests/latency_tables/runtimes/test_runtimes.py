"""Runtimes are found by name; a provider's options are conditions; no runtime replaces another."""

import pytest

from latency_tables.benchmark.measure import host_conditions, timed_model
from latency_tables.benchmark.models import random_tensors
from models.errors import InputError, NotFound
from models.onnx.builder import build_onnx
from models.spaces.plan import layer_plan
from service.delivery.timing import HostTimer
from tests.spaces import DEBUG

CPU = "CPUExecutionProvider"


def test_a_provider_with_options_is_another_condition() -> None:
    plain = host_conditions()
    assert plain.provider == CPU
    tuned = host_conditions(provider=f"{CPU}:use_arena=0,a=1")
    assert tuned.provider == f"{CPU}:a=1,use_arena=0"
    assert not tuned.alike(plain)
    assert host_conditions(provider=tuned.provider).alike(tuned)
    plan = layer_plan(DEBUG, DEBUG.smallest)
    model = build_onnx(plan, random_tensors(plan), {})
    assert (timed_model(model, provider=tuned.provider)(1, 3) > 0).all()


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("NoProvider", "expected one that ONNX Runtime has here"),
        (f"{CPU}:arena", "expected NAME:key=value,key=value, got option 'arena'"),
        (f"{CPU}:=1", "expected NAME:key=value,key=value, got option ''"),
    ],
)
def test_a_provider_that_is_not_here_is_refused(provider, words) -> None:
    with pytest.raises(InputError, match=words):
        host_conditions(provider=provider)
    assert HostTimer().conditions("onnxruntime", provider, 1) is None


def test_an_unknown_runtime_times_nothing() -> None:
    with pytest.raises(NotFound, match="no-such-runtime"):
        host_conditions("no-such-runtime")
    assert HostTimer().conditions("no-such-runtime", None, 1) is None
