"""Every command and every program of the README and docs/ runs, and answers as it is shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from latency_tables.benchmark import measure
from latency_tables.published.builtin import BuiltinDevices
from models.data.augmentation import Augmentation
from models.spaces.mobile import MobileSpace, StageSpec
from models.spaces.resnet import ResNetSpace, ResNetStage
from models.training.recipe import Phase, Recipe
from search.costs import registered_limits
from service.cli import app as cli
from service.delivery.signing import generate
from tests.e2e.browser import LONG_S, serve
from tests.e2e.docs_commands import PAGE, commands_page
from tests.e2e.docs_figures import figures, filled, named
from tests.e2e.docs_pages import (
    PAGES,
    ROOT,
    commands,
    matches,
    programs,
    recipe_table,
    settings_table,
)
from tests.e2e.docs_record import IS_RECORDING, record, renumbered
from tests.fake_stopwatch import FakeStopwatch, macs_ms
from tests.processes import PATIENCE_S

pytestmark = pytest.mark.slow

SKIPPED = (
    (r"make (run|train|test|bench|headline|check)\b", "a task of hours, or one that stays"),
    (r"docker ", "needs Docker"),
    (r"subnet-search keygen", "before the server starts, which then signs: see url() below"),
    (r".*(postgresql|0\.0\.0\.0)", "needs other machines"),
    (
        r".* --ssh ",
        "needs another machine; tests/service/cli/test_cli_measure_ssh.py measures over SSH",
    ),
    (r"subnet-search worker\b", "stays; tests/service/jobs/test_worker_processes.py runs workers"),
    (
        r".*(CHECKPOINT|ofa_mbv3_|weights\.pth|--supernet ofa-mbv3-w1\.2 .* -o)",
        "needs a checkpoint to be brought",
    ),
    (
        r"subnet-search (supernets init|search --supernet) (photos|mine) ",
        "needs images and a trained supernet; tests/service/cli/test_cli_init.py does it in small",
    ),
    (r"subnet-search supernets (train|export-checkpoint)", "hours; needs imported weights"),
    (
        r"subnet-search supernets adapt",
        "minutes; tests/service/cli/test_cli_adapt.py adapts a supernet",
    ),
    (
        r"subnet-search supernets download",
        "needs a network; tests/service/catalog/published downloads from a server of its own",
    ),
    (
        r"subnet-search devices fit",
        "needs measured networks; tests/service/catalog/test_fitted_devices.py fits",
    ),
    (
        r".*(--ofa-lut yaml-folder|latencies\.csv)",
        "needs published files; tests/latency_tables/published/test_dialects.py imports some",
    ),
)
"""What is not run, and why."""
SHORTENED = (
    (r"devices measure host .*", " --target-s 0.5 --networks 2 --resolution 16"),
    (r"devices check host .*", " --target-s 0 --networks 3"),
    (r"devices kit .*", " --networks 2 --resolution 16"),
    (r"measure\.py my-board", " --seconds 1"),
)
"""What is measured for a moment instead of minutes: options that are added. What a moment says
beside other tests is noise, which is refused as such, so known figures take its place: a made-up
stopwatch for this machine, the shipped table's for the file that a kit has written."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("docs")


@pytest.fixture(scope="module")
def url(folder):
    key = folder / "signing.pem"
    generate(key)  # as docs/operate.md says
    # One server for all pages, and one of them makes keys, which the others do without.
    settings = {"SUBNET_SIGNING_KEY": str(key), "SUBNET_ACCESS": "off"}
    with serve(folder / "home", **settings) as url:
        yield url


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    """A user's shell: an empty folder, the command on the path, a home of its own."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SUBNET_HOME", str(folder / "home"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(measure, "RuntimeStopwatch", fast_stopwatch)


def fast_stopwatch(options, _):
    return FakeStopwatch(
        lambda layer: macs_ms(layer) / 10, precision=options.precision, runtime=options.runtime
    )


def quiet(kit_file):
    """The file of a kit as a quiet machine would have written it."""
    written = json.loads(kit_file.read_text())
    table = BuiltinDevices().get("cpu-x86-64-ort").table("fashion-mbv3")
    figures = {key: {"p50_ms": entry.p50_ms} for key, entry in table.entries.items()}
    del written["rounds"]
    kit_file.write_text(json.dumps({**written, "table": figures}))


def is_shortened(text):
    return any(re.search(pattern, text) for pattern, _ in SHORTENED)


def run(text, url):
    """Exit code, and what a terminal would show."""
    text = text.replace(".venv/bin/", "").replace("http://127.0.0.1:8000", url)
    text = text.replace("Prefer: wait=60", f"Prefer: wait={LONG_S}")
    for pattern, options in SHORTENED:
        text = re.sub(pattern, rf"\g<0>{options}", text)
    if text.startswith("subnet-search devices import kit/"):
        quiet(Path(text.split()[-1]))
    if assigned := re.fullmatch(r"(\w+)=\$\((.*)\); (subnet-search .*)", text):
        code, value = run(assigned[2], url)
        if code != 0:
            return code, value
        text = assigned[3].replace(f"${assigned[1]}", value.strip())
    # In this process where that is as good.
    plain = re.fullmatch(r"subnet-search ([^|;&$'\"<>]*)(?:> (\S+))?", text)
    if plain is None:
        command = ["bash", "-o", "pipefail", "-ec", text]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        return done.returncode, done.stdout + done.stderr
    result = CliRunner().invoke(cli, plain[1].split())
    if plain[2]:
        Path(plain[2]).write_text(result.stdout)
        return result.exit_code, result.stderr
    return result.exit_code, result.output


@pytest.mark.release
@pytest.mark.parametrize("page", [page.name for page in PAGES if "```console" in page.read_text()])
def test_the_commands_of_a_page_answer_as_shown(page, url):
    wrong = []
    for command in commands():
        if command.page != page or any(re.match(p, command.text) for p, _ in SKIPPED):
            continue
        code, answer = run(command.text, url)
        fails = (code != 0) != command.fails
        if fails or (command.shown and not matches(command.shown, answer)):
            wrong.append(f"{page}:{command.line}: $ {command.text}\nexit code {code}:\n{answer}")
        elif IS_RECORDING and command.shown and not is_shortened(command.text):
            record(command, answer)
    assert not wrong, "\n".join(wrong)


@pytest.mark.release
@pytest.mark.parametrize(("page", "text"), programs())
def test_the_programs_of_a_page_run(page, text, url):
    program = text.replace("http://127.0.0.1:8000", url)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_what_is_skipped_is_on_a_page():
    """A reason without a command is stale."""
    texts = [command.text for command in commands()]
    for pattern, reason in SKIPPED:
        assert any(re.match(pattern, text) for text in texts), (pattern, reason)
    for pattern, _ in SHORTENED:
        assert any(re.search(pattern, text) for text in texts), pattern


def test_the_settings_are_those_of_the_service():
    page = (ROOT / "docs" / "operate.md").read_text()
    assert settings_table() in page, f"docs/operate.md should have:\n{settings_table()}"


def test_the_commands_are_those_of_the_parser():
    assert PAGE.read_text() == commands_page(), "run `python -m tests.e2e.docs_commands`"


def test_every_limit_is_in_the_table():
    rows = [line for line in (ROOT / "docs" / "api.md").read_text().splitlines() if "--" in line]
    options = {"latency_ms": "--latency-ms"}
    for name, limit in registered_limits().items():
        option = options.get(name, limit.option)
        assert any(f"| `{name}` |" in row and f"`{option}`" in row for row in rows), name


def test_a_figure_is_the_same_on_every_page():
    texts = [page.read_text() for page in PAGES]
    for page, text in zip(PAGES, texts, strict=True):
        assert text == filled(text), f"{page.name}: run `python -m tests.e2e.docs_figures`"
    assert set().union(*map(named, texts)) == set(figures())


@pytest.mark.parametrize(
    "described",
    [Recipe, Phase, Augmentation, MobileSpace, StageSpec, ResNetSpace, ResNetStage],
    ids=lambda described: described.__name__,
)
def test_the_fields_of_a_recipe_are_those_that_are_read(described):
    table = recipe_table(described)
    assert table in (ROOT / "docs" / "recipes.md").read_text(), (
        f"docs/recipes.md should have:\n{table}"
    )
    assert "|  |\n" not in f"{table}\n", "a field has no meaning below it"


def test_links_lead_somewhere():
    broken = [
        f"{page.name}: {target}"
        for page in (*PAGES, *(ROOT / "docs" / "decisions").glob("*.md"))
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("shown", "answer", "same"),
    [
        (["top1 92.4"], "top1   91.20\n", True),
        (["top1 92.4"], "top 91.20\n", False),
        (["a", "...", "c 3"], "a\nb\nb\nc 4\n", True),
        (["a", "...", "c"], "a\nb\n", False),
        (['{"id":"...'], '{"id":"0f0f", "more": 1}', True),
        (["b"], "a\nb\n", True),
        (["p90 0.27, p99 1,024"], "p90 15, p99 31.4\n", True),
    ],
)
def test_answers_are_compared_but_for_their_numbers(shown, answer, same):
    assert matches(shown, answer) is same


@pytest.mark.parametrize(
    ("shown", "answer", "now"),
    [
        (["top1 92.4"], "top1   91.20\n", ["top1   91.20"]),
        (["a", "...", "c 3"], "x\na\nb\nb 1\nc 41\n", ["a", "...", "c 41"]),
        (["done 93.995... 0.3..."], "done 94.01234 0.41\n", ["done 94.012... 0.4..."]),
        (["stem  0.02 ms 6% ..."], "stem   0.03 ms 17% of all\n", ["stem  0.03 ms 17% ..."]),
        (["b 2"], "a 1\n", ["b 2"]),
    ],
)
def test_recorded_answers_have_the_numbers_of_today(shown, answer, now):
    assert renumbered(shown, answer) == now
