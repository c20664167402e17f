"""The table of published networks in docs/networks.md: `python -m ...networks_table` writes it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from service.catalog import Catalog
from service.catalog.published import summarize_networks
from service.contracts import NetworkSummary

PAGE = Path(__file__).resolve().parents[4] / "docs" / "networks.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
HEADS = (
    "network", "device", "batch", "ms, published", "ms, predicted", "difference",
    "top-1, published", "top-1, predicted", "million MACs",
)  # fmt: skip


def table(networks: Sequence[NetworkSummary]) -> str:
    """All networks in Markdown, and how far predictions are off."""
    rows = [HEADS, ["---"] * 3 + ["---:"] * (len(HEADS) - 3), *map(_row, networks)]
    lines = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"{lines}\n{_summary(networks)}"


def _row(network: NetworkSummary) -> list[str]:
    published, predicted = network.published, network.predicted
    cells = [f"`{network.id}`", network.device or "", "", "", "", ""]
    if published.latency_ms is not None and predicted.latency_ms is not None:
        off = f"{100 * _off(network):+.1f} %{'' if predicted.latency_fitted else ' *'}"
        cells[2:] = [
            str(published.batch),
            f"{published.latency_ms:.0f}",
            f"{predicted.latency_ms:.1f}",
            off,
        ]
    top1 = "" if predicted.top1 is None else f"{predicted.top1:.1f}"
    return [*cells, f"{published.top1:.1f}", top1, f"{network.macs / 1e6:.0f}"]


def _off(network: NetworkSummary) -> float:
    published, predicted = network.published.latency_ms, network.predicted.latency_ms
    assert published is not None
    assert predicted is not None
    return predicted / published - 1


def _summary(networks: Sequence[NetworkSummary]) -> str:
    timed = [network for network in networks if network.device is not None]
    told = []
    for fitted, words in ((True, "the table was fitted to"), (False, "it was not (*)")):
        off = [abs(_off(n)) for n in timed if n.predicted.latency_fitted == fitted]
        mean, worst = sum(off) / len(off), max(off)
        told.append(f"{len(off)} that {words}: mean error {mean:.1%}, worst {worst:.1%}")
    return f"Latencies of the {'; of the '.join(told)}.\n"


def main() -> None:
    """Write the table into the page."""
    with tempfile.TemporaryDirectory() as home:
        made = table(summarize_networks(Catalog(Path(home))))
    text = PAGE.read_text()
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}{made}{END}{after}")


if __name__ == "__main__":
    main()
