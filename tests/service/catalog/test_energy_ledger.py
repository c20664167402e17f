"""The ledger adds up, and says what was never measured."""

import pytest

from models.errors import InputError
from service.catalog.energy import ledger
from service.contracts.records import Worked

SPENT = {"energy_kwh": 0.06, "co2e_kg": 0.024, "duration_s": 8000.0, "provenance": "estimated"}
TRAINING = {**SPENT, "method": "codecarbon", "mean_power_w": 30.0}


def card(**energy):
    alone = {"energy_kwh": 0.005, "provenance": "estimated", "method": "codecarbon"}
    rows = [{"energy": None}, {"energy": alone}, {"energy": {**alone, "energy_kwh": 0.003}}]
    recipe = {"phases": [{"epochs": 10}, {"epochs": 3}]}
    return {"energy": energy, "metrics": {"sharing": {"networks": rows}}, "recipe": recipe}


def test_every_term_by_hand():
    whole = card(training=TRAINING, predictor_data={**SPENT, "energy_kwh": 0.02})
    found = ledger(whole, Worked(10, 20.0), devices=100, table_s=60)
    per_device_kwh = (60 + 2) * 30 / 3.6e6
    assert found["total"]["shared_kwh"] == pytest.approx(0.08 + 100 * per_device_kwh)
    assert found["alone"]["energy_kwh"] == pytest.approx(0.004)
    assert found["total"]["alone_kwh"] == pytest.approx(0.4)
    assert found["total"]["times_less"] == pytest.approx(0.4 / (0.08 + 100 * per_device_kwh))
    assert found["total"]["alone_co2e_kg"] == pytest.approx(0.4 * 0.4)
    assert found["missing"] == []
    # 8,000 candidates, each for 5 of the 10 epochs.
    assert found["alone_search"]["energy_kwh"] == pytest.approx(4000 * 0.004)
    one_more = found["one_more_device"]
    assert one_more["energy_kwh"] == pytest.approx(per_device_kwh)
    assert one_more["times_less_than_training"] == pytest.approx(0.004 / per_device_kwh)
    assert one_more["times_less_than_training_and_searching"] == pytest.approx(
        4001 * 0.004 / per_device_kwh
    )


def test_break_even_is_the_first_number_of_devices_that_pays():
    whole = card(training=TRAINING, predictor_data=SPENT)
    first = ledger(whole, Worked(1, 2.0), devices=1, table_s=60)["break_even_devices"]
    before, after = (
        ledger(whole, Worked(1, 2.0), devices=n, table_s=60)["total"] for n in (first - 1, first)
    )
    assert before["shared_kwh"] > before["alone_kwh"]
    assert after["shared_kwh"] <= after["alone_kwh"]


def test_what_was_never_measured_is_named_and_not_assumed():
    found = ledger({"energy": {"training": TRAINING}}, Worked(0, 0.0), devices=2, table_s=0)
    assert found["alone"] is None
    assert "alone_kwh" not in found["total"]
    assert found["break_even_devices"] is None
    assert found["alone_search"] is None
    assert set(found["one_more_device"]) == {"energy_kwh"}
    assert len(found["missing"]) == 3
    with pytest.raises(InputError, match="--power-w"):
        ledger({}, Worked(0, 0.0), devices=1, table_s=0)
    with pytest.raises(InputError, match="devices"):
        ledger({}, Worked(0, 0.0), devices=0, table_s=0, power_w=1)
