"""What was measured, for people: a page and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt

GROUPS = {
    "subnet": ("subnets of fashion-mbv3", "#0b7285", "o"),
    "mobilenet-v3": ("MobileNetV3, trained alone", "#e8590c", "s"),
    "efficientnet": ("EfficientNet, trained alone", "#7048e8", "^"),
}
CLAIMS = {"mobilenet-v3": 1.5, "efficientnet": 2.6}
"""Times faster at equal accuracy, as OFA reports on phones (arXiv 1908.09791, section 4)."""


def write_page(document: dict[str, Any], path: Path) -> None:
    """The tables, as Markdown."""
    conditions = document["conditions"]
    lines = [
        "# Subnets against published networks, at equal accuracy",
        "",
        "Written by `make headline`; nothing here is typed in.",
        "",
        f"{conditions['runtime']} {conditions['runtime_version']}, {conditions['processor']}, "
        f"batch 1, median of {conditions['rounds']} interleaved rounds. Top-1 on the 10,000 test "
        f"images of Fashion-MNIST, measured. Families: {document['epochs_alone']} epochs each, "
        f"{_seeds(document['networks'])}, the supernet's images, augmentation and optimizer. "
        f"Supernet: {document['supernet_epochs']} epochs in all, for all of its networks. Where a "
        "family is said to have more epochs, one of its networks was trained for that long.",
        "",
        "![accuracy against measured latency](headline.svg)",
        "",
        "| against | threads | times faster at equal top-1 (95 %) | over top-1 | least, most "
        "| OFA's claim | reached |",
        "|---|---|---|---|---|---|---|",
    ]
    for threads, families in document["speedup_at_equal_top1"].items():
        for family, found in families.items():
            lines.append(_speedup_row(family, threads, found))
    lines += ["", "| network | top-1, % | 1 thread, ms | 2 threads, ms | MACs, M | params, k |"]
    lines += ["|---|---|---|---|---|---|"]
    for row in sorted(document["networks"], key=lambda row: (row["group"], row["p50_ms"]["1"])):
        spread = f" ± {row['top1_sd']:.2f}" if row["top1_sd"] is not None else ""
        lines.append(
            f"| {row['name']}{_longer(row)} | {row['top1_mean']:.2f}{spread} "
            f"| {row['p50_ms']['1']:.3f} | {row['p50_ms']['2']:.3f} "
            f"| {row['macs'] / 1e6:.1f} | {row['params'] / 1e3:.0f} |"
        )
    energy = document["energy_kwh"]
    lines += [
        "",
        f"Training the families took {energy['families']:.3f} kWh, training the supernet "
        f"{energy['supernet']:.3f} kWh (codecarbon). "
        "What else the machine did meanwhile, and pauses, count too: at most that much.",
    ]
    path.write_text("\n".join(lines) + "\n")


def _longer(row: Mapping[str, Any]) -> str:
    _, comma, epochs = row["group"].partition(",")
    return comma + epochs


def _seeds(networks: Sequence[Mapping[str, Any]]) -> str:
    counts = [len(row["top1"]) for row in networks if row["group"] != "subnet"]
    least, most = min(counts), max(counts)
    count = f"{least} to {most}" if least < most else str(most)
    return f"{count} seed{'' if most == 1 else 's'}{' (±: over them)' if most > 1 else ''}"


def _speedup_row(family: str, threads: object, found: dict[str, Any] | None) -> str:
    claim = CLAIMS[family.partition(",")[0]]
    if found is None:
        return f"| {family} | {threads} | no accuracy is reached by both | | | {claim} | |"
    low, high = found["interval_95"]
    start, end = found["top1_range"]
    reached = "yes" if low >= claim else "no" if high < claim else "unsure"
    return (
        f"| {family} | {threads} | {found['mean']:.2f} ({low:.2f} to {high:.2f}) "
        f"| {start:.2f} to {end:.2f} | {found['least']:.2f}, {found['most']:.2f} "
        f"| {claim} | {reached} |"
    )


def plot(document: dict[str, Any], path: Path) -> None:
    """Accuracy against measured latency on one thread, as SVG; the same bytes for one document."""
    matplotlib.use("svg")
    with matplotlib.rc_context({"svg.hashsalt": "headline", "font.size": 9}):
        figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
        for group in dict.fromkeys(row["group"] for row in document["networks"]):
            family, _, longer = group.partition(",")
            label, colour, marker = GROUPS[family]
            rows = [row for row in document["networks"] if row["group"] == group]
            rows.sort(key=lambda row: row["p50_ms"]["1"])
            axes.plot(
                [row["p50_ms"]["1"] for row in rows],
                [row["top1_mean"] for row in rows],
                marker=marker,
                color=colour,
                label=f"{label},{longer}" if longer else label,
                fillstyle="none" if longer else "full",
                linewidth=1,
            )
        axes.set_xscale("log")
        for set_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            set_formatter("{x:.2g}")  # milliseconds, not powers of ten
        axes.set_xlabel("latency of one image on one thread, ms (measured)")
        axes.set_ylabel("top-1 on the test images, % (measured)")
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
