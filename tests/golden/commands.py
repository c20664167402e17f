"""What every command answers with `--json`, less what is of the moment or of the machine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.golden.world import CPU, RESNET_DEVICE, resnet_arch, write

Run = Callable[..., Any]
FASHION = "fashion-mbv3"
ON = ("--supernet", FASHION, "--device", CPU)
TRAINED = "debug"
"""The shipped recipe that takes seconds."""

VOLATILE = re.compile(
    r"(.*_at|at|id|key|key_id|request_id|seconds|search_seconds|duration_s|energy_kwh|co2e_kg"
    r"|processor|mean_power_w|version|against|created|freed_bytes|path|file|private_key|public_key"
    r"|measured_ms|drift|max_difference|within_10_percent|bound_held|mean_error.*|curve)"
)
"""Fields of the moment: their kind of value is recorded, not the value."""
MOMENTARY = re.compile(r"[0-9a-f]{32}|(?<=key )[0-9a-f]{12}")
"""The same within a text."""
FIGURES = re.compile(
    r"(p50_ms|mean_ms|std_ms|network_overhead_ms|power_w|sha256|source|measurements|lint|errors"
    r"|warnings|checks|passed|total|events|tallies|times_less.*|method|expected_error.*|residual.*"
    r"|searched|drift_fraction)"
)
"""Fields of what was timed here."""


def ask_every_command(files: Path, run: Run) -> dict[str, Any]:
    """The answer of each command, by its name."""
    found: dict[str, Any] = {}

    def ask(name: str, *args: object, timed: bool = False) -> Any:
        words = name.partition(" (")[0].split()
        answer = run(*words, *args)
        found[name] = masked(answer, timed)
        return answer

    ask("supernets list")
    for supernet in (FASHION, "ofa-mbv3-w1.0", "ofa-mbv3-w1.2", "ofa-resnet50"):
        ask(f"supernets show ({supernet})", supernet)
    ask("devices list")
    for device in (CPU, "samsung-note10", RESNET_DEVICE, "v100"):
        ask(f"devices show ({device})", device)
        ask(f"devices lint ({device})", device)
    ask("networks list", "--device", "samsung-note10")
    searched = ask("search", *ON, "--latency-ms", "0.4", "--seed", "2")
    archs = write(files / "archs.json", [searched["arch"]])
    ask("predict", *ON, "--archs", archs)
    resnets = write(files / "two.json", [resnet_arch(1), resnet_arch(2)])
    ask("predict (resnet)", "--supernet", "ofa-resnet50", "--archs", resnets)
    ask("front", *ON, "--latency-ms", "0.4", "--confidence", "0.8")
    ask("fleet", "--supernet", FASHION, "--on", f"{CPU}=0.4", "--on", "cpu-x86-64-ort=0.6")
    (files / "signed").mkdir()
    ask("keygen", "-o", files / "signed" / "key.pem")
    arch = write(files / "arch.json", searched)
    ask("export", "--supernet", FASHION, "--arch", arch, "-o", files / "net.onnx")
    ask("verify", files / "net.onnx", timed=True)
    ask("supernets export-checkpoint", "ofa-mbv3-w1.0", "-o", files / "again.pth")
    (done,) = ask("searches", "--device", CPU, "--limit", 1)
    ask("download", done["id"], "-o", files / "stored.onnx")
    ask("ledger", timed=True)
    ask("gc", "--dry-run")
    ask("devices kit", FASHION, "-o", files / "kit.zip", "--resolution", 20, "--networks", 3)
    known = run("front", "--supernet", "ofa-mbv3-w1.0", "--device", "google-pixel")["points"]
    chosen, top1 = ([point[name] for point in known[::10]] for name in ("arch", "top1"))
    stated = {"arch": chosen, "top1": top1, "source": "a record", "target": "predicted top-1"}
    measured = ("--measurements", write(files / "top1.json", stated))
    ask("supernets fit-predictor", "ofa-mbv3-w1.0", *measured)
    if has_fashion_mnist():
        ask("supernets train", TRAINED, "--no-predictor")
        ask("supernets show (trained here)", TRAINED)
        ask("supernets collect", TRAINED, "--fit", 1, "--test", 1)
        quick = ("--supernet", TRAINED, "--networks", 12)
        found["devices measure"] = masked(measured_here(run, "host", *quick), timed=True)
        ask("devices check", "host", *quick, "--target-s", 5, timed=True)
    made = ask("keys create", "somebody", "--scope", "read")
    ask("keys list")
    ask("keys revoke", made["id"])
    ask("audit")
    ask("backup", files / "whole.tar", timed=True)
    return found


def measured_here(run: Run, *args: object) -> Any:
    """What `devices measure` prints; a table that so short a measurement on a busy machine does not
    give is measured for longer."""
    for target_s, *resume in ((5,), (20, "--resume"), (60, "--resume")):
        try:
            return run("devices", "measure", *args, "--target-s", target_s, *resume)
        except AssertionError as error:
            if target_s == 60 or "was not kept" not in str(error):
                raise
    raise AssertionError


def has_fashion_mnist() -> bool:
    """Whether the images that the recipe trains on are on this machine."""
    named = os.environ.get("SUBNET_FASHION_MNIST", "/usr/share/datasets/fashion-mnist")
    return Path(named, "train-images-idx3-ubyte.gz").exists()


def masked(value: Any, timed: bool = False) -> Any:
    """A JSON value without what differs from one run to the next."""
    if isinstance(value, Mapping):
        return {
            name: type(item).__name__
            if VOLATILE.fullmatch(name) or (timed and FIGURES.fullmatch(name))
            else masked(item, timed)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [masked(item, timed) for item in value]
    return MOMENTARY.sub("...", value) if isinstance(value, str) else value
