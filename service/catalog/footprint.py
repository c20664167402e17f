"""What a deployed network's answers cost in a year: energy and CO2e of a stated volume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.catalog.energy_ledger import co2e_kg_per_kwh

INFERENCES_PER_DAY = 1_000_000
"""The volume that is stated: both figures grow with it."""
DAYS_PER_YEAR = 365
MJ_PER_KWH = 3.6e9


def footprint(energy_mj: float | None, card: Mapping[str, Any]) -> dict[str, Any]:
    """Energy and CO2e of a year of `INFERENCES_PER_DAY`, estimated.

    Args:
        energy_mj: of one image, millijoules; None if the device's power is not known.
        card: of the supernet, whose training states how much CO2e a kWh is, and where.

    Returns:
        {"inferences_per_day", "energy_kwh_per_year", "co2e_kg_per_year", "co2e_kg_per_kwh",
        "origin", "method"}; None for what is not known, and the method says what it needs.
    """
    intensity = co2e_kg_per_kwh(card)
    kwh = None if energy_mj is None else energy_mj * INFERENCES_PER_DAY * DAYS_PER_YEAR / MJ_PER_KWH
    return {
        "inferences_per_day": INFERENCES_PER_DAY,
        "energy_kwh_per_year": kwh,
        "co2e_kg_per_year": None if kwh is None or intensity is None else kwh * intensity,
        "co2e_kg_per_kwh": intensity,
        "origin": "estimated",
        "method": _method(card, known=kwh is not None),
    }


def _method(card: Mapping[str, Any], *, known: bool) -> str:
    if not known:
        return (
            "not known: the device's conditions state no power_w, the watts that it draws when "
            "busy; measure it with --power-w"
        )
    country = card.get("energy", {}).get("training", {}).get("country")
    grid = f"the electricity of {country}, as of the training" if country else "no known grid"
    return f"energy of one image x images, alone on a device that idles for free; CO2e by {grid}"
