"""Delivering a model: how fast it is built and runs, whether it is right, what int8 loses.

    make bench ARGS="-k delivery"        # or: python tests/benchmarks/bench_delivery.py build

Every figure is measured on this machine, ratios in one run, interleaved.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import tracemalloc
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime as ort
import torch

from models.bundle.bundle import BundleRegistry
from models.data.images import load_fashion_mnist
from models.onnx.builder import build_onnx
from models.onnx.export import ImageSet, onnx_top1, subnet_onnx
from models.spaces.arch import Arch
from models.spaces.files import published_spaces
from models.spaces.plan import layer_plan
from models.spaces.space import SearchSpace
from models.supernet.extraction import extract
from models.supernet.supernet import Supernet, initialize

ROUNDS, RUNS = 15, 12
SPACE = "ofa-mbv3-w1.0"


def filled(space: SearchSpace) -> Supernet:
    """A supernet with weights that are not trained, but ordinary."""
    supernet = Supernet(space)
    initialize(supernet, 0)
    return supernet.eval()


def seconds(work, repeats=5):
    """Median time of `work`, seconds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def torch_export(subnet, resolution: int, channels: int, *, dynamo: bool) -> bytes:
    """What torch's own exporters make."""
    x = torch.zeros(1, channels, resolution, resolution)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        if dynamo:
            program = torch.onnx.export(subnet, (x,), dynamo=True, verbose=False)
            assert program is not None
            return bytes(program.model_proto.SerializeToString())
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            subnet,
            (x,),
            path,
            opset_version=17,
            dynamo=False,
            dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
            input_names=["input"],
            output_names=["logits"],
        )
        return path.read_bytes()


def network() -> tuple[SearchSpace, Arch]:
    """A middling network at 224."""
    space = published_spaces()[SPACE].at([224])
    return space, space.decode(space.sample(1, np.random.default_rng(5)))[0]


def bench_build() -> None:
    """Architecture to bytes against torch's exporters, and memory on top."""
    space, arch = network()
    supernet = filled(published_spaces()[SPACE])
    state = {n: t.detach().numpy() for n, t in extract(supernet, arch).state_dict().items()}
    plan = layer_plan(space, arch)

    def whole() -> bytes:
        return subnet_onnx(supernet, arch, extract(supernet, arch), {})

    whole()
    ours = seconds(whole)
    graph = seconds(lambda: build_onnx(plan, state, {}))
    subnet = extract(supernet, arch)
    script = seconds(lambda: torch_export(subnet, 224, 3, dynamo=False), 3)
    dynamo = seconds(lambda: torch_export(subnet, 224, 3, dynamo=True), 1)
    tracemalloc.start()
    model = build_onnx(plan, state, {})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"build {SPACE} at 224, {len(model) / 1e6:.1f} MB")
    print(f"  extract and build   {1e3 * ours:8.1f} ms   (graph alone {1e3 * graph:.1f} ms)")
    print(f"  torch TorchScript   {1e3 * script:8.1f} ms   {script / ours:6.1f} times")
    print(f"  torch dynamo        {1e3 * dynamo:8.1f} ms   {dynamo / ours:6.1f} times")
    print(
        f"  peak of Python memory while the graph is built: {peak / len(model):.2f} times the file"
    )


def session(model: bytes, level=ort.GraphOptimizationLevel.ORT_ENABLE_ALL):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = level
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def offline(model: bytes, folder: Path) -> bytes:
    """The file as ONNX Runtime's own optimizer writes it."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return (folder / "optimized.onnx").read_bytes()


def bench_run() -> None:
    """The built file against torch's, slimmed and optimized, paired and interleaved."""
    import onnxslim

    space, arch = network()
    supernet = filled(published_spaces()[SPACE])
    subnet = extract(supernet, arch)
    script = torch_export(subnet, 224, 3, dynamo=False)
    dynamo = torch_export(subnet, 224, 3, dynamo=True)
    with TemporaryDirectory() as folder:
        files = {"ours": subnet_onnx(supernet, arch, subnet, {})}
        for name, model in (("TorchScript", script), ("dynamo", dynamo)):
            slim = onnxslim.slim(onnx.load_from_string(model))
            files[f"{name} + onnxslim"] = slim.SerializeToString()
            files[f"{name} + ORT offline"] = offline(model, Path(folder))
    sessions = {name: session(model) for name, model in files.items()}
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224), np.float32)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(ROUNDS):
        for name, run in sessions.items():
            feed, visit = {run.get_inputs()[0].name: x}, []
            for _ in range(RUNS):
                started = time.perf_counter()
                run.run(None, feed)
                visit.append(time.perf_counter() - started)
            times[name].append(1e3 * float(np.median(visit[2:])))
    ours = np.array(times["ours"])
    print(f"run {SPACE} at 224, one thread, {ROUNDS} rounds")
    for name, visits in times.items():
        ratio = float(np.median(ours / np.array(visits)))
        print(f"  {name:26} {np.median(visits):7.3f} ms   ours is {ratio:.3f} of it")


def bench_parity() -> None:
    """The built file against torch on random networks of every space."""
    from models.onnx.export import run_onnx

    for name, space in published_spaces().items():
        supernet, worst = filled(space), 0.0
        small = space.at(space.resolutions[:1])
        for arch in small.decode(small.sample(50, np.random.default_rng(0))):
            subnet = extract(supernet, arch)
            shape = (1, space.channels, arch.resolution, arch.resolution)
            x = np.random.default_rng(1).standard_normal(shape, np.float32)
            with torch.no_grad():
                expected = subnet(torch.from_numpy(x)).numpy()
            found = run_onnx(subnet_onnx(supernet, arch, subnet, {}), x)
            worst = max(worst, float(np.abs(found - expected).max() / np.abs(expected).max()))
        print(f"parity {name}: worst of 50 networks {worst:.2g} of the largest logit")


def bench_int8() -> None:
    """What int8 loses on ten networks of the shipped supernet, on the full test set."""
    from models.data.datasets import load_dataset
    from models.onnx.export import ImageSet, calibrated_subnet, onnx_top1
    from models.onnx.quantize import quantize_onnx

    bundle = BundleRegistry(Path("var")).get("fashion-mbv3")
    supernet, space = bundle.load_supernet(), bundle.space
    calibration = ImageSet(bundle.calibration(), bundle.mean, bundle.std)
    validation, test = bundle.validation(), load_dataset("fashion-mnist", space).test
    lost = []
    for arch in space.decode(space.sample(10, np.random.default_rng(1))):
        model = subnet_onnx(supernet, arch, calibrated_subnet(supernet, arch, calibration), {})
        images = calibration.at(arch.resolution)[:256]
        small = quantize_onnx(model, [images[i : i + 32] for i in range(0, 256, 32)])
        row = []
        for data in (validation, test):
            shown = ImageSet(data.images, bundle.mean, bundle.std)
            before, after = (onnx_top1(m, arch, shown, data.labels, 2) for m in (model, small))
            row.append(before - after)
        lost.append(row)
        print(f"  int8 loses {row[0]:+.2f} (validation) {row[1]:+.2f} (test) points", flush=True)
    means = np.mean(lost, axis=0)
    print(f"int8 of 10 networks loses {means[0]:+.3f} / {means[1]:+.3f} points on average")


def bench_answers() -> None:
    """Twenty budgets of the shipped supernet: what an answer takes, and how true it is.

    SUBNET_BENCH_DEVICE names the device: one measured on this machine, in SUBNET_HOME, is timed.
    """
    from models.machine.memory import keep_freed_memory
    from service.catalog.catalog import open_catalog
    from service.delivery.delivery import MemoryBlobs, deliver
    from service.delivery.model_builder import ModelBuilder
    from service.settings import Settings

    keep_freed_memory()  # as workers do
    device = os.environ.get("SUBNET_BENCH_DEVICE", "cpu-x86-64-ort")
    context = open_catalog(Settings()).context("fashion-mbv3", device)
    builder = ModelBuilder(context.bundle)
    assert context.table is not None
    floor = context.costs["latency_ms"].floor()
    _, test = load_fashion_mnist()
    on_test = ImageSet(test.images, context.bundle.mean, context.bundle.std)
    artifacts = MemoryBlobs()
    taken, top1, top1_on_test, within = [], [], [], []
    for budget in np.geomspace(1.1 * floor, 4 * floor, 20).tolist():
        started = time.perf_counter()
        result = deliver(context, lambda: builder, {"latency_ms": budget}, 0, artifacts=artifacts)
        taken.append(time.perf_counter() - started)
        top1.append(result["top1"] - result["verified"]["top1"]["value"])
        model, arch = artifacts.get(result["sha256"]), Arch.from_json(result["arch"])
        measured = onnx_top1(model, arch, on_test, test.labels, builder.threads)
        top1_on_test.append(result["top1"] - measured)
        if (timed := result["verified"].get("latency_ms")) is not None:
            within.append(timed["value"] <= result.get("latency_upper_ms", 0.0))
    print(f"20 budgets of fashion-mbv3: p50 {np.median(taken):.2f} s, most {max(taken):.2f} s")
    for images, errors in (("2,000 validation", top1), ("all 10,000 test", top1_on_test)):
        print(
            f"  predicted less measured top-1 ({images} images): mean {np.mean(errors):+.2f}, mean "
            f"absolute {np.abs(errors).mean():.2f}, worst {np.abs(errors).max():.2f} points"
        )
    if within:
        print(f"  latency on this host within the stated bound: {sum(within)} of {len(within)}")
    else:
        print("  latency: this host is not the device of the shipped table")


BENCHES = {
    "build": bench_build,
    "run": bench_run,
    "parity": bench_parity,
    "int8": bench_int8,
    "answers": bench_answers,
}


def test_delivery() -> None:
    """Print everything."""
    for bench in BENCHES.values():
        bench()


if __name__ == "__main__":
    for wanted in sys.argv[1:] or BENCHES:
        BENCHES[wanted]()
