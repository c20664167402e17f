"""Energy and CO2e of long work, by codecarbon without a network."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from codecarbon import OfflineEmissionsTracker
from codecarbon.output_methods.base_output import BaseOutput


class _Latest(BaseOutput):  # type: ignore[misc]
    """Keeps the totals that codecarbon hands to its outputs."""

    def __init__(self) -> None:
        self.total: Any = None

    def out(self, total: Any, delta: Any) -> None:
        self.total = total

    def live_out(self, total: Any, delta: Any) -> None:
        self.total = total


class EnergyMeter:
    """Counts from entering the context; `read` may be called at any time.

    codecarbon measures processor energy where the machine exposes its counters (RAPL) and
    estimates it from the processor's design power and load elsewhere; `method` says which.
    """

    def __init__(self, country: str) -> None:
        self._latest = _Latest()
        self._tracker = OfflineEmissionsTracker(
            country_iso_code=country, save_to_file=False, log_level="error",
            allow_multiple_runs=True, output_handlers=[self._latest],
        )

    def __enter__(self) -> EnergyMeter:
        self._tracker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tracker.stop()

    def read(self) -> dict[str, float]:
        """Totals so far: energy_kwh, co2e_kg, duration_s."""
        self._tracker.flush()
        total = self._latest.total
        if total is None:
            return {"energy_kwh": 0.0, "co2e_kg": 0.0, "duration_s": 0.0}
        return {
            "energy_kwh": float(total.energy_consumed),
            "co2e_kg": float(total.emissions),
            "duration_s": float(total.duration),
        }

    @property
    def conditions(self) -> dict[str, Any]:
        """Processor, country and how the energy was obtained."""
        total = self._latest.total
        modes = {h.__class__.__name__: getattr(h, "_mode", "") for h in self._tracker._hardware}
        measured = any("rapl" in str(mode) or "power_gadget" in str(mode) for mode in modes.values())
        return {
            "provenance": "measured" if measured else "estimated",
            "method": "codecarbon, " + ("RAPL counters" if measured else "design power x load"),
            "version": getattr(total, "codecarbon_version", ""),
            "processor": getattr(total, "cpu_model", ""),
            "country": getattr(total, "country_name", ""),
        }
