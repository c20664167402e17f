"""Energy and CO2e: of a supernet and its networks against training each alone (`ledger`), and of a
year of a network's answers (`footprint`).

The ledger adds up what was measured, from the supernet's card and the stored searches. Where
nothing was measured it assumes nothing, and lists what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from models.errors import InputError
from service.contracts import Worked

ONCE = {"training": "supernets train", "predictor_data": "supernets collect"}
"""What is spent once, and the command that measures it."""
J_PER_KWH = 3.6e6
SEARCHED = 8000
"""Networks that a search for one device trains where no weights are shared: MnasNet's controller
sampled about as many (Tan et al. 2019)."""
SEARCHED_EPOCHS = 5
"""Epochs that it trained each of them for."""
INFERENCES_PER_DAY = 1_000_000
"""The volume that a footprint is stated for; both of its figures are proportional to it."""
DAYS_PER_YEAR = 365
MJ_PER_KWH = 3.6e9


def ledger(
    card: Mapping[str, Any],
    worked: Worked,
    *,
    devices: int,
    table_s: float,
    power_w: float | None = None,
) -> dict[str, Any]:
    """Energy and CO2e of networks for `devices` devices, shared and alone.

    Args:
        card: of the supernet.
        table_s: how long a device's table is measured, seconds.
        power_w: of a busy machine; default: the training's mean.

    Returns:
        {"once", "per_device", "one_more_device", "alone", "alone_search", "devices", "total",
        "break_even_devices", "co2e_kg_per_kwh", "missing"}; energies in kWh, CO2e in kg.

    Raises:
        InputError: if a number is out of range, or no power is known.
    """
    energy = card.get("energy", {})
    power_w = _power_w(card, devices, table_s, power_w)
    once = {name: _entry(energy[name]) for name in ONCE if name in energy}
    per_device = {"table": _by_time(table_s, power_w, "a table's measuring time")}
    if worked.count:
        per_device["search_and_delivery"] = {
            **_by_time(worked.seconds / worked.count, power_w, "mean time of stored searches"),
            "searches": worked.count,
        }
    alone = _alone(card)
    alone_search = _alone_search(card, alone)
    once_kwh = sum(entry["energy_kwh"] for entry in once.values())
    each_kwh = sum(entry["energy_kwh"] for entry in per_device.values())
    intensity = co2e_kg_per_kwh(card)
    saved_kwh = 0.0 if alone is None else alone["energy_kwh"] - each_kwh
    return {
        "once": once,
        "per_device": per_device,
        "one_more_device": _one_more(each_kwh, alone, alone_search),
        "alone": alone,
        "alone_search": alone_search,
        "devices": devices,
        "total": _total(once_kwh + devices * each_kwh, devices, alone, intensity),
        "break_even_devices": math.ceil(once_kwh / saved_kwh) if saved_kwh > 0 else None,
        "co2e_kg_per_kwh": intensity,
        "missing": _missing(energy, worked, alone),
    }


def _power_w(card: Mapping[str, Any], devices: int, table_s: float, power_w: float | None) -> float:
    """The power of a busy machine, watts, once all numbers are known to be in range."""
    if devices < 1 or not 0 <= table_s < math.inf:
        raise InputError(
            f"devices and table_s: expected at least 1 and 0, got {devices} and {table_s}"
        )
    found = power_w or card.get("energy", {}).get("training", {}).get("mean_power_w")
    if not found or not 0 < found < math.inf:
        raise InputError(
            "power: the supernet's card states none; say what a busy machine draws (--power-w)"
        )
    return float(found)


def _one_more(
    each_kwh: float, alone: Mapping[str, Any] | None, alone_search: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Energy of one more device, and how many times less that is than without a supernet."""
    found = {"energy_kwh": each_kwh}
    if alone is not None and each_kwh > 0:
        found["times_less_than_training"] = alone["energy_kwh"] / each_kwh
        if alone_search is not None:
            both_kwh = alone["energy_kwh"] + alone_search["energy_kwh"]
            found["times_less_than_training_and_searching"] = both_kwh / each_kwh
    return found


def _total(
    shared_kwh: float, devices: int, alone: Mapping[str, Any] | None, intensity: float | None
) -> dict[str, float]:
    """Energy and CO2e of all devices, with the supernet and without."""
    total = {"shared_kwh": shared_kwh}
    if alone is not None:
        total["alone_kwh"] = devices * alone["energy_kwh"]
        total["times_less"] = total["alone_kwh"] / shared_kwh
    if intensity is not None:
        for name in ("shared", "alone"):
            if f"{name}_kwh" in total:
                total[f"{name}_co2e_kg"] = total[f"{name}_kwh"] * intensity
    return total


def _missing(
    energy: Mapping[str, Any], worked: Worked, alone: Mapping[str, Any] | None
) -> list[str]:
    """What was never measured, and the command that measures it."""
    missing = [
        f"energy of {name}: measured by `subnet-search {command}`"
        for name, command in ONCE.items()
        if name not in energy
    ]
    if not worked.count:
        missing.append("energy of a search with its delivery: no search is stored yet")
    if alone is None:
        missing.append(
            "energy of one network trained alone: measured by `subnet-search supernets compare`"
        )
    return missing


def co2e_kg_per_kwh(card: Mapping[str, Any]) -> float | None:
    """Carbon intensity of the electricity that a supernet was trained with; None: not known."""
    training = card.get("energy", {}).get("training", {})
    if not training.get("energy_kwh"):
        return None
    return float(training["co2e_kg"] / training["energy_kwh"])


def _entry(spent: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("energy_kwh", "co2e_kg", "duration_s", "provenance", "method")
    return {name: spent[name] for name in kept if name in spent}


def _by_time(seconds: float, power_w: float, what: str) -> dict[str, Any]:
    return {
        "energy_kwh": seconds * power_w / J_PER_KWH,
        "duration_s": seconds,
        "provenance": "estimated",
        "method": f"{what} x {power_w:g} W",
    }


def _alone(card: Mapping[str, Any]) -> dict[str, Any] | None:
    """The mean network of the card's comparison with training alone."""
    rows = card.get("metrics", {}).get("sharing", {}).get("networks", [])
    spent = [row["energy"] for row in rows if row.get("energy")]
    if not spent:
        return None
    return {
        "energy_kwh": sum(one["energy_kwh"] for one in spent) / len(spent),
        "networks": len(spent),
        "provenance": spent[0]["provenance"],
        "method": spent[0]["method"],
        "what": (
            f"training one network, the mean of {len(spent)} of the {len(rows)} compared; without "
            "any search for its architecture"
        ),
    }


def _alone_search(
    card: Mapping[str, Any], alone: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """What searching for one network costs where every candidate is trained; None: not known."""
    phases = card.get("recipe", {}).get("phases", [])
    if alone is None or not phases:
        return None
    epochs = phases[0]["epochs"]
    return {
        "energy_kwh": SEARCHED * SEARCHED_EPOCHS / epochs * alone["energy_kwh"],
        "provenance": "estimated",
        "method": (
            f"{SEARCHED} candidates x {SEARCHED_EPOCHS} epochs (MnasNet) at the energy of one "
            f"trained alone for {epochs}"
        ),
    }


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
        "method": _footprint_method(card, known=kwh is not None),
    }


def _footprint_method(card: Mapping[str, Any], *, known: bool) -> str:
    if not known:
        return (
            "not known: the device's conditions state no power_w, the watts that it draws when "
            "busy; measure it with --power-w"
        )
    country = card.get("energy", {}).get("training", {}).get("country")
    grid = f"the electricity of {country}, as of the training" if country else "no known grid"
    return f"energy of one image x images, alone on a device that idles for free; CO2e by {grid}"
