"""Limits and fleets on the command line: every limit binds, what cannot be met says what can."""

from __future__ import annotations

import json

import pytest

from latency_tables.table.conditions import Conditions
from tests.service.conftest import DEVICE, SUPERNET, catalog_of, keep, make_table

ON = ("--supernet", SUPERNET, "--device", DEVICE)


@pytest.mark.slow
def test_every_budget_binds(run_json):
    free = run_json("search", *ON, "--latency-ms", 100)
    tight = {"macs": free["macs"] * 0.7, "params": free["params"] * 0.7}
    limits = ("--max-macs", tight["macs"], "--max-params", tight["params"])
    found = run_json("search", *ON, "--latency-ms", 100, *limits)
    assert all(found[name] <= budget for name, budget in tight.items())
    assert found["top1"] <= free["top1"]


def test_an_infeasible_budget_exits_2_and_names_the_floor(run, home):
    floor = catalog_of(home).context(SUPERNET, DEVICE).costs["latency_ms"].floor()
    result = run("search", *ON, "--latency-ms", 0.001, "--json", code=2)
    assert f"{floor:.6g}" in result.stderr
    answer = json.loads(result.stdout)
    assert answer["feasible"] is False
    assert answer["floor"] == floor
    assert run("search", *ON, "--latency-ms", 0.001, code=2).stdout == ""


@pytest.mark.slow
def test_shares_ranges_a_target_and_frozen_parts(run, run_json, home, tmp_path):
    whole = catalog_of(home).context(SUPERNET, DEVICE).costs["latency_ms"].ceiling()
    (file := tmp_path / "frozen.json").write_text('{"resolution": 12, "stage1.blocks": ["5x4"]}')
    frozen = ("--keep", "stage2.kernel=3", "--freeze", file)
    found = run_json("search", *ON, "--latency-ms", "20%..95%", "--max-macs", "90%", *frozen)
    assert 0.2 * whole <= found["latency_ms"] <= 0.95 * whole
    assert found["asked"] == {"latency_ms": {"min": "20%", "max": "95%"}, "macs": "90%"}
    assert found["frozen"] == {
        "resolution": [12], "stage1.blocks": ["5x4"], "stage2.kernel": [3],
    }  # fmt: skip
    assert found["arch"]["resolution"] == 12
    assert (found["arch"]["kernel"][0], found["arch"]["expand"][0]) == ([5], [4])
    assert found["effort"] == "normal"
    fastest = run_json("search", *ON, "--min-top1", found["top1"], "--effort", "quick")
    assert fastest["effort"] == "quick"
    assert fastest["top1"] >= found["top1"]
    assert fastest["latency_ms"] <= found["latency_ms"]
    assert fastest["target"] == {"top1": found["top1"], "minimize": "latency_ms"}
    smallest = run_json("search", *ON, "--min-top1", found["top1"], "--minimize", "params")
    assert smallest["params"] <= fastest["params"]


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (("--confidence", "0.9"), "expected it with --latency-ms"),
        (("--latency-ms", "x"), "no number, share such as 60%"),
        (("--latency-ms", ".."), "expected a range such as 20..25"),
        (("--latency-ms", "120%"), "above 0, up to 100"),
        (("--latency-ms", "2..1"), "expected min up to max"),
        (("--latency-ms", "1", "--minimize", "macs"), "expected it with --min-top1"),
        (("--latency-ms", "1", "--effort", "long"), "quick, normal or thorough, got 'long'"),
        (("--min-top1", "100"), "top1 >= 100 asked, but the most accurate network"),
        (("--min-top1", "0"), "top1: expected above 0"),
        (("--latency-ms", "1", "--keep", "kernel"), "expected GENES=CHOICES"),
        (("--latency-ms", "1", "--keep", "kernel=x"), "expected numbers, got 'x'"),
        (("--latency-ms", "1", "--keep", "kernel=3", "--keep", "kernel=5"), "given twice"),
        (("--latency-ms", "1", "--keep", "kernel=4"), "expected some of 3, 5, got 4"),
        (("--macs", "1"), "--max-macs"),
    ],
)
def test_what_cannot_be_asked_exits_2(run, asked, text):
    assert text in run("search", *ON, *asked, code=2).stderr


@pytest.mark.slow
def test_limits_that_cannot_be_met_together_come_with_ones_that_can(run):
    tight = ("--latency-ms", 100, "--max-macs", 1, "--max-params", 1)
    answer = json.loads(run("search", *ON, *tight, "--json", code=2).stdout)
    near = answer["nearest"]
    assert near["latency_ms"] == 100
    wider = ("--latency-ms", 100, "--max-macs", near["macs"], "--max-params", near["params"])
    run("search", *ON, *wider)


@pytest.mark.slow
def test_memory_and_file_size_are_limits_too(run, run_json, home):
    free = run_json("search", *ON, "--latency-ms", 100)
    limits = ("--max-peak-memory-bytes", free["peak_memory_bytes"] - 1)
    found = run_json("search", *ON, "--latency-ms", 100, *limits)
    assert found["peak_memory_bytes"] < free["peak_memory_bytes"]
    least = catalog_of(home).context(SUPERNET, DEVICE).costs["model_bytes"].floor()
    run("search", *ON, "--latency-ms", 100, "--max-model-bytes", least)
    run("search", *ON, "--latency-ms", 100, "--max-model-bytes", least - 1, code=2)


@pytest.mark.slow
def test_energy_needs_the_devices_power(run, run_json, home):
    refused = run("search", *ON, "--latency-ms", 100, "--max-energy-mj", 5, code=2)
    assert "power_w" in refused.stderr
    conditions = Conditions(runtime="fake", precision="fp32", batch=2, power_w=4.0)
    keep(home, make_table("powered", conditions=conditions))
    on = ("--supernet", SUPERNET, "--device", "powered", "--latency-ms", 100)
    free = run_json("search", *on)
    assert free["energy_mj"] == pytest.approx(free["latency_ms"] * 4.0 / 2)
    assert free["provenance"]["energy_mj"]["origin"] == "estimated"
    found = run_json("search", *on, "--max-energy-mj", 0.8 * free["energy_mj"])
    assert found["energy_mj"] <= 0.8 * free["energy_mj"]


@pytest.mark.slow
def test_fleet(run, run_json, home):
    keep(home, make_table("other", network_overhead_ms=1.0))
    tight = 1.1 * catalog_of(home).context(SUPERNET, DEVICE).costs["latency_ms"].floor()
    fleet = ("fleet", "--supernet", SUPERNET, "--on", f"{DEVICE}={tight}", "--on", "other=100")
    one = run_json(*fleet)
    (network,) = one["networks"]
    assert set(network["devices"]) == {DEVICE, "other"}
    assert all(at["latency_ms"] <= at["budget_ms"] for at in network["devices"].values())
    apart = run_json(*fleet, "--loss", 0)
    together = run_json(*fleet, "--loss", 50)
    assert (len(apart["networks"]), len(together["networks"])) == (2, 1)
    assert together["networks"][0]["arch"] == network["arch"]
    assert len(run(*fleet, "--loss", 0).stdout.splitlines()) == 1 + 2 + 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("on", "words"),
    [
        (["debug-device"], "expected DEVICE=MS"),
        (["debug-device=nan"], "expected DEVICE=MS"),
        (["debug-device=-1"], "expected DEVICE=MS"),
        (["debug-device=1", "debug-device=2"], "given twice"),
        (["gone=1"], "unknown device 'gone'"),
        (["debug-device=0.001"], "infeasible: latency_ms@debug-device"),
    ],
)
def test_bad_fleets(run, on, words):
    options = [part for value in on for part in ("--on", value)]
    result = run("fleet", "--supernet", SUPERNET, *options, "--json", code=2)
    assert words in result.stderr
    assert result.stdout == ""
