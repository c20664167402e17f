"""A year's energy and CO2e: against the closed form, and with what is not known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.catalog.energy import footprint

CARD = {"energy": {"training": {"energy_kwh": 0.5, "co2e_kg": 0.2, "country": "Norway"}}}


@given(st.floats(1e-6, 1e6))
def test_a_year_of_a_million_images_a_day(energy_mj: float) -> None:
    found = footprint(energy_mj, CARD)
    joules = energy_mj / 1e3 * 1_000_000 * 365
    assert found["energy_kwh_per_year"] == pytest.approx(joules / 3.6e6)
    assert found["co2e_kg_per_year"] == pytest.approx(joules / 3.6e6 * 0.4)
    assert found["inferences_per_day"] == 1_000_000
    assert found["origin"] == "estimated"
    assert "Norway" in found["method"]


def test_without_a_power_it_says_what_is_missing() -> None:
    found = footprint(None, CARD)
    assert found["energy_kwh_per_year"] is None
    assert found["co2e_kg_per_year"] is None
    assert "--power-w" in found["method"]


def test_without_a_known_grid_energy_is_still_told() -> None:
    found = footprint(1.0, {})
    assert found["energy_kwh_per_year"] == pytest.approx(1e3 * 365 / 3.6e6)
    assert found["co2e_kg_per_year"] is None
    assert found["co2e_kg_per_kwh"] is None
