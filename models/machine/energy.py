"""Energy and CO2e of long work, by codecarbon without a network."""

from __future__ import annotations

import difflib
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from codecarbon import OfflineEmissionsTracker
from codecarbon.input import DataSource
from codecarbon.output_methods.base_output import BaseOutput

from models.errors import InvalidDocument, show_value

NOTHING = {"energy_kwh": 0.0, "co2e_kg": 0.0, "duration_s": 0.0}
"""The totals before any work."""


class _Latest(BaseOutput):
    """Stores the latest totals that codecarbon passes to its outputs."""

    def __init__(self) -> None:
        self.total: Any = None

    def out(self, total: Any, delta: Any) -> None:
        self.total = total

    def live_out(self, total: Any, delta: Any) -> None:
        self.total = total


class EnergyMeter:
    """Counts from entering the context; `read` may be called at any time.

    codecarbon measures processor energy where the machine exposes its counters (RAPL) and
    estimates it from the processor's design power and load elsewhere; `conditions` says which.
    The estimate's error is that of the design power: virtual machines often hide the
    processor's true name, and a factor of two is possible.
    """

    def __init__(self, country: str) -> None:
        """
        Args:
            country: three-letter ISO code; of any other (`check_country`), CO2e is counted by the
                world's mean electricity.
        """
        self._latest = _Latest()
        logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
        # codecarbon's dependencies raise deprecation warnings, which we cannot act on.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._tracker = OfflineEmissionsTracker(
                country_iso_code=country,
                save_to_file=False,
                log_level="critical",
                allow_multiple_runs=True,
                output_handlers=[self._latest],
            )

    def __enter__(self) -> EnergyMeter:
        self._tracker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tracker.stop()

    def read(self) -> dict[str, float]:
        """Totals so far: energy_kwh, co2e_kg, duration_s."""
        self._tracker.flush()
        total = self._latest.total
        if total is None:
            return dict(NOTHING)
        return {
            "energy_kwh": float(total.energy_consumed),
            "co2e_kg": float(total.emissions),
            "duration_s": float(total.duration),
        }

    @property
    def conditions(self) -> dict[str, Any]:
        """Processor, country and how the energy was obtained."""
        total = self._latest.total
        counters = any(Path("/sys/class/powercap").glob("*rapl*/energy_uj"))
        return {
            "provenance": "measured" if counters else "estimated",
            "method": "codecarbon, " + ("RAPL counters" if counters else "design power x load"),
            "version": getattr(total, "codecarbon_version", ""),
            "processor": getattr(total, "cpu_model", ""),
            "mean_power_w": round(
                float(getattr(total, "energy_consumed", 0.0))
                * 3.6e6
                / max(float(getattr(total, "duration", 0.0)), 1e-9),
                1,
            ),
            "country": getattr(total, "country_name", ""),
        }


def check_country(code: object, where: str) -> None:
    """Check that codecarbon knows the electricity of a country by this three-letter code (ISO
    3166-1 alpha-3). It takes any other text without a word, for a country of unknown name.

    Raises:
        InputError: naming `where` and the codes that were probably meant.
    """
    names = {
        known: str(entry["country_name"])
        for known, entry in DataSource().get_global_energy_mix_data().items()  # type: ignore[no-untyped-call]
    }
    if code in names:
        return
    text = str(code).strip().upper()
    near = [known for known, name in names.items() if text in (known, name.upper())]
    if not near and len(text) == 2:  # both are among the three: DE in DEU, AT in AUT
        near = [known for known in names if known[0] == text[0] and text[1] in known[1:]]
    near = near or difflib.get_close_matches(text, names, n=3)
    meant = " or ".join(f"{known} ({names[known]})" for known in near)
    raise InvalidDocument.at(
        where,
        (),
        "expected the three-letter code (ISO 3166-1 alpha-3) of a country whose "
        f"electricity codecarbon knows, such as DEU, got {show_value(code)}"
        + (f"; did you mean {meant}?" if meant else ""),
    )


def added(earlier: Mapping[str, Any] | None, meter: EnergyMeter) -> dict[str, Any]:
    """A card's entry for resumed work: earlier and present totals added, present conditions."""
    before, now = earlier or NOTHING, meter.read()
    return {**{key: before[key] + now[key] for key in NOTHING}, **meter.conditions}
