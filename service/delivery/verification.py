"""Verify a finished file again: signature, structure, parity with its supernet, accuracy and
latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latency_tables.runtimes import DEFAULT_RUNTIME, runtime_names
from latency_tables.table import ALIKE, PRECISIONS, Conditions, differing_conditions
from models.errors import InputError, NotFound, SubnetSearchError
from models.published import published_network
from models.spaces import (
    Arch,
    published_spaces,
    stage_features,
)
from service.catalog import Catalog, DeploymentContext
from service.catalog.published import is_cached
from service.contracts import images_in_words, outcome_in_words
from service.delivery.accuracy_check import far_below
from service.delivery.imported_network import check_imported
from service.delivery.model_builder import ModelBuilder
from service.delivery.parity import (
    Check,
    Images,
    input_shape,
    noise_images,
    outputs_parity,
    runtime_difference,
    runtime_here,
    torch_outputs,
)
from service.delivery.published_network import load_published
from service.delivery.signing import SIGNATURE_BYTES, is_signed
from service.delivery.stated import fixed_batch, read_stated, stated_conditions
from service.delivery.timing import (
    HostTimer,
    LatencyBudget,
    Timer,
    measured_p50_ms,
    time_in_words,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SLOWER = 1.25
"""A file whose p50 is more than this many times what it states fails: a machine drifts by a few
percent, and this is far beyond."""


def verify_file(
    content: bytes,
    catalog: Catalog,
    *,
    signature: bytes | None = None,
    key: Ed25519PublicKey | None = None,
    calibration: Path | None = None,
    threads: int | None = None,
    timer: Timer | None = None,
    allow_low_top1: bool = False,
    warn: Callable[[list[str]], None] = lambda _: None,
) -> list[Check]:
    """All checks of a finished file, in order.

    Args:
        signature, key: without both the signature is not judged.
        calibration: a folder of images that the file was made with instead of its bundle's.
        threads: batches of images computed in parallel; default: the number of cores.
        allow_low_top1: pass a file that is far less accurate than predicted.
        warn: told what is odd about the calibration images.
    """
    checks = [_signature(content, signature, key)]
    structure, stated = _structure(content)
    checks.append(structure)
    if stated is None:
        return checks
    if stated["network"]:
        check = check_imported if stated["network_sha256"] else _published
        checks += check(content, stated, catalog.home)
        return [*checks, _latency(content, stated, timer or HostTimer())]
    try:
        bundle = catalog.supernets.get(stated["supernet"])
        arch = bundle.space.read_arch(stated["arch"])
        checks.append(input_shape(content, bundle.space, arch))
    except (NotFound, InputError) as error:
        return [*checks, Check(name="supernet", passed=False, detail=str(error))]
    if bundle.sha256 != stated["supernet_sha256"]:
        detail = (
            f"made from weights {stated['supernet_sha256'][:12]}, the supernet "
            f"{bundle.name!r} here has {bundle.sha256[:12] or 'none'}"
        )
        return [*checks, Check(name="supernet", passed=False, detail=detail)]
    checks.append(Check(name="supernet", passed=True, detail=f"{bundle.name} {bundle.sha256[:12]}"))
    builder = ModelBuilder(bundle, threads=threads, calibration=calibration)
    if calibration is not None:
        warn(builder.calibration_warnings())
    checks += _parity(content, stated, builder, arch)
    checks.append(_top1(content, stated, builder, arch, allow_low_top1))
    checks.append(_latency(content, stated, timer or HostTimer()))
    return checks


def _signature(content: bytes, signature: bytes | None, key: Ed25519PublicKey | None) -> Check:
    if signature is None and key is None:
        return Check(name="signature", passed=None, detail="no signature and no public key given")
    if signature is None:
        return Check(name="signature", passed=False, detail="there is no signature")
    if key is None:
        return Check(name="signature", passed=None, detail="no public key given")
    if len(signature) != SIGNATURE_BYTES:
        detail = f"expected {SIGNATURE_BYTES} bytes, got {len(signature)}"
        return Check(name="signature", passed=False, detail=detail)
    good = is_signed(content, signature, key)
    detail = "made by the owner of the key" if good else "not of this file, or not by this key"
    return Check(name="signature", passed=good, detail=detail)


def _structure(content: bytes) -> tuple[Check, dict[str, Any] | None]:
    """Whether it is a valid model of this project, and what its metadata states."""
    import onnx

    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
        stated = read_stated(model)
        names = [v.name for v in (*model.graph.input, *model.graph.output)]
        expected = ["input", "logits", *(feature["name"] for feature in stated["features"])]
        if names != expected:
            raise InputError(f"expected {' and '.join(expected)}, got {names}")
        stated["batch"] = fixed_batch(model)
        opset = max(entry.version for entry in model.opset_import if not entry.domain)
    except Exception as error:  # a damaged file can make the parser raise anything
        text = str(error).strip().splitlines()
        return Check(name="structure", passed=False, detail=text[0] if text else "unreadable"), None
    batch = "any batch" if stated["batch"] is None else f"a batch of {stated['batch']}"
    detail = f"ONNX opset {opset}, IR {model.ir_version}, {len(content)} bytes, {batch}"
    return Check(name="structure", passed=True, detail=detail), stated


def _published(content: bytes, stated: Mapping[str, Any], home: Path) -> list[Check]:
    """The checks of a file of a published network, against its weights if they are here."""
    try:
        network = published_network(stated["network"])
        space = published_spaces()[network.space]
        same = space.read_arch(stated["arch"]) == network.arch
    except InputError as error:
        return [Check(name="network", passed=False, detail=str(error))]
    checks = [
        Check(name="network", passed=same, detail=f"{network.id}, a subnet of {network.space}"),
        input_shape(content, space, network.arch),
    ]
    if not is_cached(network.weights, home):
        how = f"`subnet-search networks export {network.id}` downloads them"
        detail = f"the published weights are not on this machine: {how}"
        return [*checks, Check(name="parity", passed=None, detail=detail)]
    images = noise_images(space.channels, network.arch.resolution)
    try:
        stages = stage_features(space, network.arch) if stated["features"] else ()
        logits, features = torch_outputs(load_published(network, home), images, stages)
        against = f"on {len(images)} images against the published weights"
        parity = outputs_parity(content, images, {"logits": logits, **features}, against)
    except (SubnetSearchError, RuntimeError, ValueError) as error:
        return [*checks, Check(name="parity", passed=False, detail=f"cannot be compared: {error}")]
    return [*checks, *parity]


def _parity(
    content: bytes, stated: Mapping[str, Any], builder: ModelBuilder, arch: Arch
) -> list[Check]:
    """The file's logits against those of the network built again, also under the runtime that it
    was made for."""
    from models.onnx import run_outputs

    precision, how = stated["precision"], stated["verified"]
    if precision not in ("fp32", "int8"):
        return [Check(name="parity", passed=False, detail=f"unknown precision {precision!r}")]
    try:
        built = builder.build(
            DeploymentContext.open(builder.bundle, None),
            arch,
            precision=precision,
            recalibrate=how["recalibrated"],
            features=bool(stated["features"]),
        )
        images = builder.parity_images(arch)
        expected = {"logits": built.logits, **built.features}
        if built.quantized is not None:
            expected = run_outputs(built.quantized, images, [*expected])
        against = f"on {len(images)} images against the subnet made anew, at {precision}"
        parity = outputs_parity(content, images, expected, against, builder.threads)
    except (SubnetSearchError, KeyError, RuntimeError, ValueError) as error:
        return [Check(name="parity", passed=False, detail=f"cannot be compared: {error}")]
    against = f"logits {against}"
    return [*parity, *_under_runtime(content, stated, images, built.logits, against)]


def _under_runtime(
    content: bytes, stated: Mapping[str, Any], images: Images, float_logits: Images, against: str
) -> list[Check]:
    """The same under the runtime of the device, unless that is ONNX Runtime, or not known here."""
    there = stated_conditions(stated)
    runtime = there.get("runtime", DEFAULT_RUNTIME)
    if runtime == DEFAULT_RUNTIME or runtime not in runtime_names():
        return []
    name = "runtime_parity"
    device = Conditions(
        runtime=runtime,
        precision=stated["precision"],
        batch=stated["batch"] or there.get("batch") or 1,
        provider=there.get("provider"),
        threads=there.get("threads"),
    )
    if (here := runtime_here(device)) is None:
        return [Check(name=name, passed=None, detail=f"{runtime} is not here")]
    try:
        found = runtime_difference(content, images, float_logits, here)
    except InputError as error:
        return [Check(name=name, passed=False, detail=f"cannot be compared: {error}")]
    if found is None:
        return [Check(name=name, passed=None, detail=f"{runtime} gives no logits")]
    return [
        Check(
            name=name,
            passed=found["passed"],
            detail=f"{against}, under {runtime}",
            stated=found["allowed"],
            found=found.get("max_difference", found.get("mean_difference")),
        )
    ]


def _top1(
    content: bytes,
    stated: Mapping[str, Any],
    builder: ModelBuilder,
    arch: Arch,
    allow_low_top1: bool,
) -> Check:
    """The file's accuracy against what it states, and against what is predicted for its network."""
    said = stated["verified"].get("top1")
    if said is None:
        return Check(name="top1", passed=None, detail="no validation images, none stated")
    found = builder.top1(content, arch, stated["precision"])
    if found is None:
        return Check(
            name="top1", passed=None, detail="no validation images here", stated=said["value"]
        )
    # The images are the same: rounding may change the answer for one or two of them.
    allowed = 100 * 2.5 / found["images"]
    low = None
    if stated["verified"]["recalibrated"] and not allow_low_top1:
        low = far_below(DeploymentContext.open(builder.bundle, None), arch, found)
    return Check(
        name="top1",
        passed=abs(found["value"] - said["value"]) <= allowed and low is None,
        detail=low or f"percent of {found['images']} held-out images, measured",
        stated=said["value"],
        found=found["value"],
    )


def _latency(content: bytes, stated: Mapping[str, Any], timer: Timer) -> Check:
    """The file's p50 under the stated runtime; without that here, under the usual one, which says
    nothing about what is stated."""
    said, there = stated["verified"].get("latency_ms"), stated_conditions(stated)
    runtime, threads = there.get("runtime", DEFAULT_RUNTIME), there.get("threads") or 1
    here = timer.conditions(runtime, there.get("provider"), threads)
    if here is not None:
        here = replace(here, io=there.get("io"))
    else:
        here = timer.conditions(DEFAULT_RUNTIME, None, threads)
    if here is None:
        return Check(name="latency", passed=None, detail="no runtime here to time it with")
    if stated["precision"] in PRECISIONS:
        here = replace(here, precision=stated["precision"])
    here = replace(here, batch=stated["batch"] or there.get("batch") or 1)
    times_ms = timer.times_ms(content, here)
    found = measured_p50_ms(times_ms)
    images = images_in_words(here.batch)
    how = f"p50, ms{images} %s under {here.runtime}, {time_in_words(times_ms)}; "
    if said is None or differing_conditions(there, here.to_json(), (*ALIKE, "batch")):
        predicted = stated["predicted"].get("latency_ms")
        why = "the file states none, it was made for no device"
        if said is not None or predicted is not None:
            why = f"what is stated is of another device, under {runtime}"
            if here.runtime != runtime:
                why += ", which is not here"
        detail = how % "here" + why
        return Check(name="latency", passed=None, detail=detail, stated=predicted, found=found)
    detail = how % "on this device" + f"at most {SLOWER:g} times what is stated"
    if (budget_ms := said.get("budget_ms")) is not None:
        outcome = LatencyBudget(budget_ms, said["stated_error"]).outcome(found)
        detail += f"; budget of {budget_ms:g} ms: {outcome_in_words(outcome)}"
    return Check(
        name="latency",
        passed=found <= SLOWER * said["value"],
        detail=detail,
        stated=said["value"],
        found=found,
    )
