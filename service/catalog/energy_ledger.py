"""What a supernet's networks cost in energy, against networks trained one by one.

Costs that were measured while they were spent come from the supernet's card and from the stored
searches; nothing is assumed where nothing was measured, and the answer says what is missing.
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
    if devices < 1 or not 0 <= table_s < math.inf:
        raise InputError(
            f"devices and table_s: expected at least 1 and 0, got {devices} and {table_s}"
        )
    energy = card.get("energy", {})
    power_w = power_w or energy.get("training", {}).get("mean_power_w")
    if not power_w or not 0 < power_w < math.inf:
        raise InputError(
            "power: the supernet's card states none; say what a busy machine draws (--power-w)"
        )
    intensity = co2e_kg_per_kwh(card)
    once = {name: _entry(energy[name]) for name in ONCE if name in energy}
    missing = [
        f"energy of {name}: measured by `subnet-search {command}`"
        for name, command in ONCE.items()
        if name not in energy
    ]
    per_device = {"table": _by_time(table_s, power_w, "a table's measuring time")}
    if worked.count:
        per_device["search_and_delivery"] = {
            **_by_time(worked.seconds / worked.count, power_w, "mean time of stored searches"),
            "searches": worked.count,
        }
    else:
        missing.append("energy of a search with its delivery: no search is stored yet")
    alone = _alone(card)
    if alone is None:
        missing.append(
            "energy of one network trained alone: measured by `subnet-search supernets compare`"
        )
    alone_search = _alone_search(card, alone)
    once_kwh = sum(entry["energy_kwh"] for entry in once.values())
    each_kwh = sum(entry["energy_kwh"] for entry in per_device.values())
    one_more: dict[str, Any] = {"energy_kwh": each_kwh}
    if alone is not None and each_kwh > 0:
        one_more["times_less_than_training"] = alone["energy_kwh"] / each_kwh
        if alone_search is not None:
            both_kwh = alone["energy_kwh"] + alone_search["energy_kwh"]
            one_more["times_less_than_training_and_searching"] = both_kwh / each_kwh
    total = {"shared_kwh": once_kwh + devices * each_kwh}
    break_even = None
    if alone is not None:
        total["alone_kwh"] = devices * alone["energy_kwh"]
        total["times_less"] = total["alone_kwh"] / total["shared_kwh"]
        if (saved := alone["energy_kwh"] - each_kwh) > 0:
            break_even = math.ceil(once_kwh / saved)
    if intensity is not None:
        for name in ("shared", "alone"):
            if f"{name}_kwh" in total:
                total[f"{name}_co2e_kg"] = total[f"{name}_kwh"] * intensity
    return {
        "once": once,
        "per_device": per_device,
        "one_more_device": one_more,
        "alone": alone,
        "alone_search": alone_search,
        "devices": devices,
        "total": total,
        "break_even_devices": break_even,
        "co2e_kg_per_kwh": intensity,
        "missing": missing,
    }


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
