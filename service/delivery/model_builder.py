"""From an architecture to a checked ONNX file: extract, recalibrate, build, verify.

torch and ONNX Runtime are imported by the functions that need them: the API starts without them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from latency_tables.table import Conditions, Precision
from models.bundle import CALIBRATION, Bundle
from models.errors import InputError
from models.spaces import Arch, stage_features
from service.catalog import DeploymentContext
from service.delivery.accuracy_check import (
    accuracy_warnings,
    check_accuracy,
    described_top1,
)
from service.delivery.parity import (
    check_int8,
    check_parity,
    check_under_runtime,
    noise_images,
    torch_outputs,
)
from service.delivery.stated import (
    stated_classes,
    stated_features,
    stated_gaps,
    stated_preprocess,
    with_stated,
)
from service.delivery.timing import HostTimer, LatencyBudget, Timer, as_device, describe_times

if TYPE_CHECKING:
    from models.supernet import Subnet

PARITY_IMAGES = 64
"""Validation images that logits are compared on."""
QUANTIZING_IMAGES, QUANTIZING_BATCH = 256, 32

Report = Callable[[str, float], None]
"""(step, share of the whole done, 0..1); may raise to stop the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltModel:
    """A model file before verification, and the logits that it should compute."""

    model: bytes
    """ONNX at fp32."""
    quantized: bytes | None = None
    """The same network at int8, if int8 was requested."""
    logits: npt.NDArray[np.float32]
    """(images, classes): of the torch subnet on `ModelBuilder.parity_images`."""
    features: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    """Of the torch subnet on the same: the files' further outputs, by their names."""
    recalibrated: bool
    """Whether batch-norm statistics were recomputed for this network."""
    batch: int | None = None
    """Images that the files are fixed to; None: any number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedModel:
    """A verified model file."""

    model: bytes
    findings: dict[str, Any]
    """As the answer's `verified`."""
    latency_ms: float | None
    """p50 on this host; None unless this host is the device."""
    about: dict[str, Any] = field(default_factory=dict)
    """What its graph says: as the answer's `file`."""
    warnings: tuple[str, ...] = ()
    """What to know before trusting the file."""


class ModelBuilder:
    """Builds and verifies model files from one supernet, which it holds in memory."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        timer: Timer | None = None,
        calibration: Path | None = None,
        home: Path | None = None,
    ) -> None:
        """
        Args:
            threads: batches of images computed in parallel; default: the number of cores. The
                files do not depend on it.
            calibration: a folder of images to recalibrate with instead of the bundle's.
            home: the installation's folder, where batch-norm statistics are cached; None: no
                cache.

        Raises:
            InputError: if the bundle has no weights, or the folder no images.
            CorruptBundle: if a file of the bundle differs from the one that its card names.
        """
        import torch

        from models.machine import cores
        from models.onnx import ImageSet
        from service.delivery.bn_cache import BatchNormCache

        torch.set_num_threads(1)  # within an operator; more would change the order of summation
        self.bundle, self.threads = bundle, threads or cores()
        self.supernet = bundle.load_supernet()
        self._bn_cache = BatchNormCache(home / "recalibrated") if home else None
        self.calibration = self.validation = None
        self._calibration_classes = bundle.card.get("data", {}).get("calibration_classes")
        if calibration is not None:
            from service.catalog.supernets import read_calibration

            images, self._calibration_classes = read_calibration(calibration, bundle.space)
            self.calibration = ImageSet(images, bundle.mean, bundle.std)
        elif bundle.has(CALIBRATION):
            self.calibration = ImageSet(bundle.calibration(), bundle.mean, bundle.std)
        if bundle.has("validation.npz"):
            data = bundle.validation()
            self.validation = ImageSet(data.images, bundle.mean, bundle.std)
            self.labels = data.labels
        self._timer = timer or HostTimer()

    def make(
        self,
        context: DeploymentContext,
        arch: Arch,
        *,
        precision: str = "fp32",
        recalibrate: bool = True,
        batch: int | None = None,
        features: bool = False,
        report: Report = lambda step, share: None,
        allow_low_top1: bool = False,
    ) -> VerifiedModel:
        """The verified ONNX file of one network: `build`, then `verify`."""
        built = self.build(
            context,
            arch,
            precision=precision,
            recalibrate=recalibrate,
            batch=batch,
            features=features,
            report=report,
        )
        return self.verify(context, arch, built, report=report, allow_low_top1=allow_low_top1)

    def build(
        self,
        context: DeploymentContext,
        arch: Arch,
        *,
        precision: str = "fp32",
        recalibrate: bool = True,
        batch: int | None = None,
        features: bool = False,
        report: Report = lambda step, share: None,
    ) -> BuiltModel:
        """The ONNX file of one network, not yet verified.

        Args:
            precision: fp32 or int8.
            batch: images that the file is fixed to; None: any number.
            features: the stages' outputs are outputs of the file too.

        Raises:
            InputError: if recalibration or quantization needs images and there are none.
        """
        from models.onnx import fix_batch, subnet_onnx

        report("recalibrate", 0.5)
        subnet = self.subnet(arch, recalibrate=recalibrate)
        report("build", 0.7)
        stages = stage_features(self.bundle.space, arch) if features else ()
        stated = self._metadata(context, arch, "fp32") | stated_features(stages)
        model = subnet_onnx(self.supernet, arch, subnet, stated, stages)
        quantized = None
        if precision == "int8":
            stated = self._metadata(context, arch, "int8") | stated_features(stages)
            quantized = self._quantized(model, arch, stated)
        if batch is not None:
            model = fix_batch(model, batch)
            quantized = None if quantized is None else fix_batch(quantized, batch)
        logits, outputs = torch_outputs(subnet, self.parity_images(arch), stages)
        return BuiltModel(
            model=model,
            quantized=quantized,
            logits=logits,
            features=outputs,
            recalibrated=recalibrate,
            batch=batch,
        )

    def subnet(self, arch: Arch, *, recalibrate: bool = True) -> Subnet:
        """The network as an ordinary module.

        Raises:
            InputError: if recalibration needs images and there are none.
        """
        from models.onnx import calibrated_subnet
        from models.supernet import extract

        if not recalibrate:
            return extract(self.supernet, arch)
        if self.calibration is None:
            raise InputError(
                f"supernet {self.bundle.name!r} has no calibration images, without which its "
                "batch norms cannot be recalibrated: name a folder of training images "
                "(`--calibration`), or export with --no-recalibrate"
            )
        if self._bn_cache is None:
            return calibrated_subnet(self.supernet, arch, self.calibration, self.threads)
        return self._bn_cache.subnet(
            self.supernet, self.bundle.sha256, arch, self.calibration, self.threads
        )

    def _quantized(self, model: bytes, arch: Arch, metadata: Mapping[str, str]) -> bytes:
        from models.onnx import quantize_onnx

        if self.calibration is None:
            raise InputError(
                f"supernet {self.bundle.name!r} has no calibration images, from which int8 takes "
                "its ranges: name a folder of training images (`--calibration`), or ask for fp32"
            )
        images = self.calibration.at(arch.resolution)[:QUANTIZING_IMAGES]
        starts = range(0, len(images), QUANTIZING_BATCH)
        batches = [images[start : start + QUANTIZING_BATCH] for start in starts]
        return quantize_onnx(model, batches, metadata)

    def verify(
        self,
        context: DeploymentContext,
        arch: Arch,
        built: BuiltModel,
        *,
        budget: LatencyBudget | None = None,
        report: Report = lambda step, share: None,
        allow_low_top1: bool = False,
    ) -> VerifiedModel:
        """Verify a built model; where this host is the device, time it too.

        Args:
            budget: what its time is judged by.
            allow_low_top1: pass a file that is far less accurate than predicted, with a warning. A
                network that is not recalibrated passes too: predictions are not for such ones.

        Raises:
            Unverified: if the file does not compute what the subnet does, or is far less accurate
                than predicted.
        """
        report("verify", 0.75)
        findings = {"recalibrated": built.recalibrated, **self._verify(built, arch)}
        model = built.model
        if built.quantized is not None:
            model = built.quantized
            findings |= self._verify_quantized(built, model, arch, findings["top1"])
        if built.recalibrated and not allow_low_top1:
            check_accuracy(context, arch, findings["top1"])
        precision: Precision = "fp32" if built.quantized is None else "int8"
        warnings: list[str] = []
        if context.table is not None:
            device = replace(context.table.conditions, precision=precision)
            images = self.parity_images(arch)
            under, warnings = check_under_runtime(model, images, built.logits, device)
            findings |= under
        timed = None
        here = as_device(self._timer, context.table, precision, outputs=1 + len(built.features))
        if here is not None and built.batch in (None, here.batch):
            timed = findings["latency_ms"] = self._time(model, here, budget)
            if built.quantized is not None:
                float_here = replace(here, precision="fp32")
                findings["quantization"]["fp32_latency_ms"] = self._time(built.model, float_here)
        report("store", 0.95)
        return VerifiedModel(
            # The findings are also in the file's metadata.
            model=with_stated(model, "verified", json.dumps(findings)),
            findings=findings,
            about=self._about(model, arch, built.batch),
            latency_ms=timed["value"] if timed else None,
            warnings=(
                *(self.calibration_warnings() if built.recalibrated else ()),
                *accuracy_warnings(context, arch, findings["top1"]),
                *warnings,
            ),
        )

    def _about(self, model: bytes, arch: Arch, batch: int | None) -> dict[str, Any]:
        """What answers say of a file."""
        from models.onnx import provider_coverage

        return {
            "batch": batch or "dynamic",
            "providers": provider_coverage(model),
            "preprocess": stated_preprocess(self.bundle, arch),
        }

    def calibration_warnings(self) -> list[str]:
        """What is odd about the images that batch norms are recalibrated on."""
        from models.data import calibration_warnings

        if self.calibration is None:
            return []
        return calibration_warnings(
            self.calibration.images[:],
            self.bundle.mean,
            self.bundle.std,
            classes=self._calibration_classes,
            of_classes=self.bundle.space.classes,
        )

    def parity_images(self, arch: Arch) -> npt.NDArray[np.float32]:
        """(images, channels, height, width): what the logits of subnet and file are compared on."""
        if self.validation is not None:
            return self.validation.at(arch.resolution)[:PARITY_IMAGES]
        return noise_images(self.bundle.space.channels, arch.resolution)

    def _metadata(self, context: DeploymentContext, arch: Arch, precision: str) -> dict[str, str]:
        (predicted,) = context.predict([arch])
        bundle, preprocess = self.bundle, stated_preprocess(self.bundle, arch)
        predicted = {name: value for name, value in predicted.items() if name != "arch"}
        values = {
            "arch": json.dumps(arch.to_json()),
            "supernet": bundle.name,
            "supernet_sha256": bundle.sha256,
            "device": context.table.device if context.table else "",
            "precision": precision,
            "predicted": json.dumps({**predicted, "provenance": context.provenance()}),
            "preprocess": json.dumps(preprocess),
        }
        stated = {f"subnet_search.{name}": value for name, value in values.items()}
        gaps = stated_gaps(values["device"], predicted.get("latency_ms"))
        return stated | stated_classes(bundle.class_names) | gaps

    def _verify(self, built: BuiltModel, arch: Arch) -> dict[str, Any]:
        images = self.parity_images(arch)
        checked = check_parity(built.model, images, built.logits, self.threads, built.features)
        return {**checked, "top1": self.top1(built.model, arch, "fp32")}

    def _verify_quantized(
        self, built: BuiltModel, model: bytes, arch: Arch, float_top1: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Compare an int8 file with the float file, which was compared with the subnet.

        Raises:
            Unverified: as `check_int8`.
        """
        images = self.parity_images(arch)
        found = check_int8(model, images, built.logits, self.threads, built.features)
        top1 = self.top1(model, arch, "int8")
        findings: dict[str, Any] = {"top1": top1, "quantization": found}
        if top1 is not None and float_top1 is not None:
            found["fp32_top1"] = float_top1
            found["lost_points"] = round(float_top1["value"] - top1["value"], 4)
        return findings

    def top1(self, model: bytes, arch: Arch, precision: str) -> dict[str, Any] | None:
        """Accuracy of a file on the bundle's validation images; None for a bundle without them."""
        from models.onnx import onnx_top1

        if self.validation is None:
            return None
        top1 = onnx_top1(model, arch, self.validation, self.labels, self.threads)
        return described_top1(top1, len(self.labels), precision)

    def _time(
        self, model: bytes, here: Conditions, budget: LatencyBudget | None = None
    ) -> dict[str, Any]:
        return describe_times(self._timer.times_ms(model, here), here, budget)
