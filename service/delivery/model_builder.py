"""From an architecture to a checked ONNX file: extract, recalibrate, build, verify.

torch and ONNX Runtime are imported by the functions that need them: the API starts without them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from latency_tables.table import Conditions, LatencyTable, Precision
from models.bundle import CALIBRATION, Bundle
from models.errors import InputError
from models.spaces import Arch
from service.catalog import DeploymentContext
from service.delivery.accuracy_check import Unverified, accuracy_warnings, check_accuracy
from service.delivery.parity import (
    INT8_TOLERANCE,
    check_parity,
    check_under_runtime,
    noise_images,
)
from service.delivery.quantization_report import compare_logits
from service.delivery.timing import HostTimer, LatencyBudget, Timer, describe_times

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
        report: Report = lambda step, share: None,
        allow_low_top1: bool = False,
    ) -> VerifiedModel:
        """The verified ONNX file of one network: `build`, then `verify`."""
        built = self.build(
            context, arch, precision=precision, recalibrate=recalibrate, batch=batch, report=report
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
        report: Report = lambda step, share: None,
    ) -> BuiltModel:
        """The ONNX file of one network, not yet verified.

        Args:
            precision: fp32 or int8.
            batch: images that the file is fixed to; None: any number.

        Raises:
            InputError: if recalibration or quantization needs images and there are none.
        """
        import torch

        from models.onnx import calibrated_subnet, fix_batch, subnet_onnx
        from models.supernet import extract

        report("recalibrate", 0.5)
        if not recalibrate:
            subnet = extract(self.supernet, arch)
        elif self.calibration is None:
            raise InputError(
                f"supernet {self.bundle.name!r} has no calibration images, without which its "
                "batch norms cannot be recalibrated: name a folder of training images "
                "(`--calibration`), or export with --no-recalibrate"
            )
        elif self._bn_cache is None:
            subnet = calibrated_subnet(self.supernet, arch, self.calibration, self.threads)
        else:
            subnet = self._bn_cache.subnet(
                self.supernet, self.bundle.sha256, arch, self.calibration, self.threads
            )
        report("build", 0.7)
        model = subnet_onnx(self.supernet, arch, subnet, self._metadata(context, arch, "fp32"))
        quantized = None
        if precision == "int8":
            quantized = self._quantized(model, arch, self._metadata(context, arch, "int8"))
        if batch is not None:
            model = fix_batch(model, batch)
            quantized = None if quantized is None else fix_batch(quantized, batch)
        with torch.no_grad():
            logits = subnet(torch.from_numpy(self.parity_images(arch))).numpy()
        return BuiltModel(
            model=model,
            quantized=quantized,
            logits=logits,
            recalibrated=recalibrate,
            batch=batch,
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
        from models.onnx import provider_coverage

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
        here = self._as_device(context.table, precision)
        if here is not None and built.batch in (None, here.batch):
            timed = findings["latency_ms"] = self._time(model, here, budget)
            if built.quantized is not None:
                float_here = replace(here, precision="fp32")
                findings["quantization"]["fp32_latency_ms"] = self._time(built.model, float_here)
        about = {"batch": built.batch or "dynamic", "providers": provider_coverage(model)}
        report("store", 0.95)
        return VerifiedModel(
            # The findings are also in the file's metadata.
            model=_with_metadata(model, "verified", json.dumps(findings)),
            findings=findings,
            about=about,
            latency_ms=timed["value"] if timed else None,
            warnings=(
                *(self.calibration_warnings() if built.recalibrated else ()),
                *accuracy_warnings(context, arch, findings["top1"]),
                *warnings,
            ),
        )

    def calibration_warnings(self) -> list[str]:
        """What is odd about the images that batch norms are recalibrated on."""
        from models.data import calibration_warnings

        if self.calibration is None:
            return []
        return calibration_warnings(
            self.calibration.images,
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
        space, bundle = self.bundle.space, self.bundle
        preprocess = {
            "channels": space.channels,
            "resolution": arch.resolution,
            "interpolation": "bilinear",
            "mean": list(bundle.mean),
            "std": list(bundle.std),
        }
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
        return {f"subnet_search.{name}": value for name, value in values.items()}

    def _verify(self, built: BuiltModel, arch: Arch) -> dict[str, Any]:
        checked = check_parity(built.model, self.parity_images(arch), built.logits, self.threads)
        return {**checked, "top1": self.top1(built.model, arch, "fp32")}

    def _verify_quantized(
        self, built: BuiltModel, model: bytes, arch: Arch, float_top1: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Compare an int8 file with the float file, which was compared with the subnet.

        Raises:
            Unverified: if its logits differ by more than `INT8_TOLERANCE` of their spread.
        """
        import onnx

        from models.onnx import run_onnx

        onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
        found = compare_logits(
            built.logits, run_onnx(model, self.parity_images(arch), self.threads)
        )
        if not found["mean_difference"] <= INT8_TOLERANCE * found["logit_spread"]:  # or NaN
            raise Unverified(
                f"the int8 file's logits differ from the float file's by "
                f"{found['mean_difference']:.3g} on average, expected at most {INT8_TOLERANCE:g} "
                f"of their spread, {found['logit_spread']:.3g}: nothing was delivered; ask for fp32"
            )
        top1 = self.top1(model, arch, "int8")
        findings: dict[str, Any] = {"top1": top1, "quantization": found}
        if top1 is not None and float_top1 is not None:
            found["fp32_top1"] = float_top1
            found["lost_points"] = round(float_top1["value"] - top1["value"], 4)
        return findings

    def top1(self, model: bytes, arch: Arch, precision: str) -> dict[str, Any] | None:
        """Accuracy of a file on the bundle's validation images; None for a bundle without them."""
        import onnxruntime

        from models.onnx import onnx_top1

        if self.validation is None:
            return None
        top1 = onnx_top1(model, arch, self.validation, self.labels, self.threads)
        images = len(self.labels)
        return {
            "value": top1,
            "origin": "measured",
            # Standard error of a proportion measured on that many images.
            "expected_error": round(math.sqrt(top1 * (100 - top1) / images), 3),
            "expected_error_unit": "percentage points (standard error)",
            "images": images,
            "conditions": {
                "runtime": f"onnxruntime {onnxruntime.__version__}",
                "precision": precision,
            },
        }

    def _as_device(self, table: LatencyTable | None, precision: Precision) -> Conditions | None:
        """This host's conditions, if they are those of `table` at that precision; else None."""
        if table is None or table.conditions.precision != precision:
            return None
        there = table.conditions
        here = self._timer.conditions(there.runtime, there.provider, there.threads or 1)
        if here is None:
            return None
        here = replace(here, precision=precision, batch=there.batch, io=there.io)
        return here if here.alike(there) else None

    def _time(
        self, model: bytes, here: Conditions, budget: LatencyBudget | None = None
    ) -> dict[str, Any]:
        return describe_times(self._timer.times_ms(model, here), here, budget)


def _with_metadata(model: bytes, name: str, value: str) -> bytes:
    """The file with one more metadata entry; entries are sorted, so the bytes do not depend on
    their order."""
    import onnx

    proto = onnx.load_from_string(model)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    metadata[f"subnet_search.{name}"] = value
    onnx.helper.set_model_props(proto, dict(sorted(metadata.items())))
    return bytes(proto.SerializeToString(deterministic=True))
