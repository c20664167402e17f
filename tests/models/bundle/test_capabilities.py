"""What a supernet can be used for in every state, and that its commands lead to the next one."""

from __future__ import annotations

import itertools

import pytest

from models.bundle.bundle import Bundle
from models.bundle.capabilities import NEEDS, next_steps
from models.bundle.card import CALIBRATION, MEASURED, PREDICTOR, WEIGHTS, published_card
from models.errors import InputError
from models.spaces import published_spaces
from tests.spaces import DEBUG

PARTS = (WEIGHTS, PREDICTOR, CALIBRATION)
STATES = [set(c) for n in range(4) for c in itertools.combinations(PARTS, n)]
IDS = ["+".join(sorted(name.partition(".")[0] for name in state)) or "nothing" for state in STATES]
NAMES = (*published_spaces(), "mine", "trained")


def bundle(name: str, files: set[str], **card: object) -> Bundle:
    space = published_spaces().get(name, DEBUG)
    if name == "trained":
        card["recipe"] = {}
    known = {**published_card(space), "name": name, **card, "files": dict.fromkeys(files, "0" * 64)}
    return Bundle(None, known, space)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("files", "can"),
    [
        (set(), ""),
        ({PREDICTOR}, "search"),
        ({WEIGHTS}, "verify"),
        ({WEIGHTS, PREDICTOR}, "search verify"),
        ({CALIBRATION}, ""),
        ({WEIGHTS, CALIBRATION}, "deliver verify"),
        ({WEIGHTS, PREDICTOR, CALIBRATION}, "search deliver verify"),
        ({WEIGHTS, PREDICTOR, CALIBRATION, MEASURED, "validation.npz"}, "search deliver verify"),
    ],
)
def test_what_is_there_is_what_can_be_done(files, can):
    found = bundle("mine", files).capabilities
    assert [name for name, value in found.items() if value] == can.split()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("files", STATES, ids=IDS)
def test_the_steps_lead_to_everything(name, files):
    supernet = bundle(name, files)
    lacks = {capability for capability, can in supernet.capabilities.items() if not can}
    added = [capability for step in supernet.next_steps for capability in step.adds]
    assert sorted(added) == sorted(lacks)
    for step in supernet.next_steps:
        assert step.command.startswith("subnet-search supernets ")
        assert name in step.command
        for placeholder in ("FOLDER", "FILE", "CHECKPOINT"):
            assert (f" {placeholder}" in step.command) == (f"{placeholder}: " in step.needs)
    for capability in lacks:
        assert supernet.how_to(capability).startswith("`subnet-search supernets ")


@pytest.mark.parametrize(
    ("name", "files", "commands"),
    [
        ("ofa-mbv3-w1.2", set(), ["download ofa-mbv3-w1.2 --calibration FOLDER"]),
        ("ofa-mbv3-w1.2", {WEIGHTS, CALIBRATION}, ["download ofa-mbv3-w1.2"]),
        (
            "ofa-mbv3-w1.2",
            {WEIGHTS, PREDICTOR},
            ["import ofa-mbv3-w1.2 none --calibration FOLDER"],
        ),
        ("ofa-mbv3-w1.0", {PREDICTOR}, ["download ofa-mbv3-w1.0 --calibration FOLDER"]),
        (
            "ofa-resnet50",
            set(),
            [
                "download ofa-resnet50",
                "import ofa-resnet50 CHECKPOINT --calibration FOLDER",
            ],
        ),
        (
            "ofa-proxyless-w1.3",
            set(),
            [
                "download ofa-proxyless-w1.3 --calibration FOLDER",
                "fit-predictor ofa-proxyless-w1.3 --measurements FILE",
            ],
        ),
        (
            "mine",
            set(),
            [
                "import mine CHECKPOINT --calibration FOLDER",
                "fit-predictor mine --measurements FILE",
            ],
        ),
        (
            "trained",
            {WEIGHTS, CALIBRATION},
            ["collect trained && subnet-search supernets fit-predictor trained"],
        ),
        ("trained", {WEIGHTS, CALIBRATION, MEASURED}, ["fit-predictor trained"]),
    ],
)
def test_one_command_adds_the_rest(name, files, commands):
    steps = bundle(name, files).next_steps
    assert [step.command for step in steps] == [f"subnet-search supernets {c}" for c in commands]


@pytest.mark.parametrize(
    ("capability", "command"),
    [
        ("search", "download ofa-mbv3-w1.2"),
        ("verify", "download ofa-mbv3-w1.2"),
        ("deliver", "download ofa-mbv3-w1.2 --calibration FOLDER"),
    ],
)
def test_a_refusal_asks_for_no_more_than_it_needs(capability, command):
    said = bundle("ofa-mbv3-w1.2", set()).how_to(capability)
    assert said.split("` (")[0].strip("`") == f"subnet-search supernets {command}"


def test_refusals_name_the_command():
    with pytest.raises(InputError, match="no weights here: .*download ofa-mbv3-w1.0"):
        bundle("ofa-mbv3-w1.0", {PREDICTOR}).check_deliverable()
    with pytest.raises(InputError, match="no calibration images.* import mine none --calibration"):
        bundle("mine", {PREDICTOR, WEIGHTS}).check_deliverable()


def test_every_need_is_a_part_that_a_step_adds():
    assert set().union(*NEEDS.values()) == set(PARTS)
    assert next_steps("mine", {"files": dict.fromkeys(PARTS)}) == []
