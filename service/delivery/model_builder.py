"""From an architecture to an ONNX file that was checked: extract, recalibrate, build, verify.

torch and ONNX Runtime are imported by what needs them, so that the API starts without.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from latency_tables.table import Conditions, LatencyTable, Precision
from models.bundle import Bundle
from models.errors import InputError, SubnetSearchError
from models.spaces import Arch
from service.catalog import DeploymentContext
from service.delivery.quantization_report import agreement
from service.delivery.timing import HostTimer, Timer

PARITY_IMAGES, PARITY_NOISE = 64, 4
"""Real images compared, or random ones where there are none."""
PARITY_TOLERANCE = 1e-3
"""Of the largest logit: float32 sums in another order, over some fifty layers."""
QUANTIZING_IMAGES, QUANTIZING_BATCH = 256, 32
USELESS = 0.5
"""An int8 file whose logits are off by this share of their spread, on average, is broken."""

Report = Callable[[str, float], None]
"""(step, share of the whole done, 0..1); may raise to stop the work."""


class Unverified(SubnetSearchError):
    """A finished model did not pass its checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A model file that nobody has checked yet, and what it should compute."""

    model: bytes
    """At fp32."""
    quantized: bytes | None = None
    """The same at int8, if that is what was asked for."""
    logits: npt.NDArray[np.float32]
    """(images, classes): the torch subnet's answers to the images that both are compared on."""
    recalibrated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """One model file and what checking it found."""

    model: bytes
    findings: dict[str, Any]
    latency_ms: float | None
    """Timed on this host; None unless it is the device."""


class Workshop:
    """A supernet in memory with its images, and what makes models from it."""

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
            threads: batches of images at the same time; default: as many as there are cores.
                Whatever the number, the same network becomes the same file.
            calibration: a folder of images to recalibrate with instead of the bundle's.
            home: the installation, which keeps what recalibrating found; None keeps nothing.

        Raises:
            InputError: if the bundle has no weights, or the folder no images.
            CorruptBundle: if a file of the bundle is not the one that its card names.
        """
        import torch

        from models.machine import cores
        from models.onnx import ImageSet
        from service.delivery.bn_cache import RecalibratedStore

        torch.set_num_threads(1)  # of one operator; more would add sums up in another order
        self.bundle, self.threads = bundle, threads or cores()
        self.supernet = bundle.load_supernet()
        self._recalibrated = RecalibratedStore(home / "recalibrated") if home else None
        self.calibration = self.validation = None
        if calibration is not None:
            from service.catalog.supernets import read_calibration

            images = read_calibration(calibration, bundle.space)
            self.calibration = ImageSet(images, bundle.mean, bundle.std)
        elif bundle.has("calibration.npz"):
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
        report: Report = lambda step, share: None,
    ) -> Verified:
        """The checked ONNX file of one network: `build`, then `verify`."""
        draft = self.build(
            context, arch, precision=precision, recalibrate=recalibrate, report=report
        )
        return self.verify(context, arch, draft, report=report)

    def build(
        self,
        context: DeploymentContext,
        arch: Arch,
        *,
        precision: str = "fp32",
        recalibrate: bool = True,
        report: Report = lambda step, share: None,
    ) -> Draft:
        """The ONNX file of one network, unchecked.

        Args:
            precision: fp32 or int8.

        Raises:
            InputError: if there are no images to recalibrate or to quantize with.
        """
        import torch

        from models.onnx import calibrated_subnet, subnet_onnx
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
        elif self._recalibrated is None:
            subnet = calibrated_subnet(self.supernet, arch, self.calibration, self.threads)
        else:
            subnet = self._recalibrated.subnet(
                self.supernet, self.bundle.sha256, arch, self.calibration, self.threads
            )
        report("build", 0.7)
        model = subnet_onnx(self.supernet, arch, subnet, self._metadata(context, arch, "fp32"))
        quantized = None
        if precision == "int8":
            quantized = self._quantized(model, arch, self._metadata(context, arch, "int8"))
        with torch.no_grad():
            logits = subnet(torch.from_numpy(self.compared(arch))).numpy()
        return Draft(model=model, quantized=quantized, logits=logits, recalibrated=recalibrate)

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
        draft: Draft,
        *,
        report: Report = lambda step, share: None,
    ) -> Verified:
        """Check a draft; where this host is the device, time it too.

        Raises:
            Unverified: if the file does not compute what the subnet does.
        """
        report("verify", 0.75)
        findings = {"recalibrated": draft.recalibrated, **self._verify(draft, arch)}
        model = draft.model
        if draft.quantized is not None:
            model = draft.quantized
            findings |= self._verify_quantized(draft, model, arch, findings["top1"])
        timed = None
        here = self._as_device(context.table, "fp32" if draft.quantized is None else "int8")
        if here is not None:
            timed = findings["latency_ms"] = self._time(model, here)
            if draft.quantized is not None:
                float_here = replace(here, precision="fp32")
                findings["quantization"]["fp32_latency_ms"] = self._time(draft.model, float_here)
        report("store", 0.95)
        return Verified(
            # The file states what was found of it.
            model=_with_metadata(model, "verified", json.dumps(findings)),
            findings=findings,
            latency_ms=timed["value"] if timed else None,
        )

    def compared(self, arch: Arch) -> npt.NDArray[np.float32]:
        """The images that subnet and file are compared on: real ones where there are any."""
        if self.validation is not None:
            return self.validation.at(arch.resolution)[:PARITY_IMAGES]
        shape = (PARITY_NOISE, self.bundle.space.channels, arch.resolution, arch.resolution)
        return np.random.default_rng(0).standard_normal(shape, np.float32)

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

    def _verify(self, draft: Draft, arch: Arch) -> dict[str, Any]:
        import onnx
        import torch

        from models.onnx import run_onnx

        onnx.checker.check_model(onnx.load_from_string(draft.model), full_check=True)
        images, expected = self.compared(arch), draft.logits
        found = run_onnx(draft.model, images, self.threads)
        difference = float(np.abs(found - expected).max())
        allowed = PARITY_TOLERANCE * max(1.0, float(np.abs(expected).max()))
        if not difference <= allowed:  # not true of NaN either
            raise Unverified(
                f"the ONNX file's logits differ from the subnet's by {difference:.3g} on "
                f"{len(images)} images, expected at most {allowed:.3g}: nothing was delivered"
            )
        return {
            "onnx_checker": "passed",
            "parity": {
                "max_difference": difference,
                "allowed": allowed,
                "images": len(images),
                "against": f"torch {torch.__version__}",
            },
            "top1": self.top1(draft.model, arch, "fp32"),
        }

    def _verify_quantized(
        self, draft: Draft, model: bytes, arch: Arch, float_top1: dict[str, Any] | None
    ) -> dict[str, Any]:
        """What an int8 file loses against the float file, which was compared with the subnet.

        Raises:
            Unverified: if its answers have little to do with the float file's.
        """
        import onnx

        from models.onnx import run_onnx

        onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
        found = agreement(draft.logits, run_onnx(model, self.compared(arch), self.threads))
        if not found["mean_difference"] <= USELESS * found["logit_spread"]:  # not true of NaN
            raise Unverified(
                f"the int8 file's logits differ from the float file's by "
                f"{found['mean_difference']:.3g} on average, expected at most {USELESS:g} of their "
                f"spread, {found['logit_spread']:.3g}: nothing was delivered; ask for fp32"
            )
        top1 = self.top1(model, arch, "int8")
        findings: dict[str, Any] = {"top1": top1, "quantization": found}
        if top1 is not None and float_top1 is not None:
            found["fp32_top1"] = float_top1
            found["lost_points"] = round(float_top1["value"] - top1["value"], 4)
        return findings

    def top1(self, model: bytes, arch: Arch, precision: str) -> dict[str, Any] | None:
        """Accuracy of a file on the bundle's validation images; None where there are none."""
        import onnxruntime

        from models.onnx import onnx_top1

        if self.validation is None:
            return None
        top1 = onnx_top1(model, arch, self.validation, self.labels, self.threads)
        images = len(self.labels)
        return {
            "value": top1,
            "origin": "measured",
            # Of a proportion measured on that many images.
            "expected_error": round(math.sqrt(top1 * (100 - top1) / images), 3),
            "expected_error_unit": "percentage points (standard error)",
            "images": images,
            "conditions": {
                "runtime": f"onnxruntime {onnxruntime.__version__}",
                "precision": precision,
            },
        }

    def _as_device(self, table: LatencyTable | None, precision: Precision) -> Conditions | None:
        """This host's conditions, if a file of that precision runs here as it does in `table`."""
        if table is None or (table.conditions.batch, table.conditions.precision) != (1, precision):
            return None
        here = replace(self._timer.conditions(table.conditions.threads or 1), precision=precision)
        return here if here.alike(table.conditions) else None

    def _time(self, model: bytes, here: Conditions) -> dict[str, Any]:
        times_ms = self._timer.times_ms(model, here.threads or 1)
        return {
            # A neighbour on the machine only ever adds time: the least of the visits' medians.
            "value": float(np.median(times_ms, axis=1).min()),
            "p90": float(np.quantile(times_ms, 0.9)),
            "p99": float(np.quantile(times_ms, 0.99)),
            "runs": times_ms.size,
            "origin": "measured",
            "conditions": asdict(here),
        }


def _with_metadata(model: bytes, name: str, value: str) -> bytes:
    """A file with one more entry, the same whichever order they came in."""
    import onnx

    proto = onnx.load_from_string(model)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    metadata[f"subnet_search.{name}"] = value
    onnx.helper.set_model_props(proto, dict(sorted(metadata.items())))
    return bytes(proto.SerializeToString(deterministic=True))
