"""House rules that ruff, mypy and import-linter cannot express.

What they can express is said in pyproject.toml: no `print`, no unused import, layers.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("models", "latency_tables", "search", "service")
MAX_LINES = 400

SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
SCRIPTS = sorted((ROOT / "service" / "web").glob("*.js"))
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Written in two parts so that this file keeps its own rule.
MACHINE_PATHS = tuple("/" + folder + "/" for folder in ("work", "root", "home"))
REGISTRIES = tuple(name + end for name, end in (("pypi", ".org"), ("pythonhosted", ".org")))

# Where the import name is not the distribution's name.
IMPORTED_AS = {"pillow": "PIL", "pydantic-settings": "pydantic_settings", "pyyaml": "yaml"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text_files() -> Iterator[Path]:
    """Every file written by hand: the root's own, and those of the known folders."""
    folders = (*PACKAGES, "tests", "docs", ".ci")
    inside = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    names = (".gitignore", ".dockerignore", "Makefile", "Dockerfile", "LICENSE")
    root = (p for p in ROOT.iterdir() if p.name in names or p.suffix in {".md", ".toml", ".txt"})
    suffixes = {".py", ".cpp", ".md", ".toml", ".txt", ".ini", ".json", ".html", ".css", ".js", ""}
    yield from root
    yield from (p for p in inside if p.is_file() and p.suffix in suffixes)


def third_party_imports(path: Path) -> set[str]:
    """Top-level names imported anywhere in a file, less the standard library and ours."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - set(PACKAGES)


def dependencies() -> dict[str, str]:
    """Import name of each runtime dependency -> the file its comment in pyproject.toml names."""
    lines = re.findall(
        r'^    "([a-z-]+)(?:\[[a-z]+\])?>=[\d.]+", *# (\S+\.py)$',
        (ROOT / "pyproject.toml").read_text(),
        re.M,
    )
    return {IMPORTED_AS.get(name, name.replace("-", "_")): path for name, path in lines}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_module_says_what_it_is_for(path: Path) -> None:
    source = path.read_text()
    assert not source.strip() or ast.get_docstring(ast.parse(source)), "no module docstring"


@pytest.mark.parametrize("path", [*SOURCES, *SCRIPTS], ids=name_of)
def test_module_is_short_enough_to_read(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_LINES, f"{lines} lines; split it by what its parts are for"


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = [
        f"{name_of(path)}:{number}: {word}"
        for path in text_files()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for word in (*MACHINE_PATHS, *REGISTRIES)
        if word in line
    ]
    assert not found, "\n".join(found)


def test_every_import_is_a_declared_dependency() -> None:
    undeclared = {
        name: name_of(path)
        for path in SOURCES
        for name in third_party_imports(path) - set(dependencies())
    }
    assert not undeclared, f"imported but not in pyproject.toml: {undeclared}"


def test_every_dependency_is_imported_where_its_comment_says() -> None:
    declared = (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["notebook"])
    assert len(dependencies()) == len(declared), "one comment, one file, for each"
    wrong = {
        name: path
        for name, path in dependencies().items()
        if not (ROOT / path).exists() or name not in third_party_imports(ROOT / path)
    }
    assert not wrong, f"not imported there: {wrong}"


def test_constraints_pin_every_dependency_exactly() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    loose = [line for line in lines if not re.fullmatch(r"[\w.-]+==\d[\w.]*", line)]
    assert not loose, f"not name==version: {loose}"

    def normal(requirement: str) -> str:
        return re.split(r"[\[=<>]", requirement)[0].lower().replace("_", "-")

    wanted = (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])
    missing = set(map(normal, wanted)) - set(map(normal, lines))
    assert not missing, f"run `make lock`: {missing}"


def test_decisions_are_numbered_without_gaps() -> None:
    assert [path.name[:4] for path in DECISIONS] == [f"{n + 1:04}" for n in range(len(DECISIONS))]


@pytest.mark.parametrize("path", DECISIONS, ids=name_of)
def test_decision_has_its_parts_and_is_indexed(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith(f"# {path.name[:4]} ")
    headings = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert headings == ["Context", "Decision", "Consequences", "Alternatives"]
    assert f"[{path.name[:4]}]({path.name})" in (path.parent / "README.md").read_text()


def test_readme_tree_names_every_room() -> None:
    """Each folder under its package, and no other."""
    tree = (ROOT / "README.md").read_text().split("```text\n", 1)[1].split("```", 1)[0]
    listed: set[str] = set()
    package = ""
    for line in tree.splitlines():
        if match := re.match(r"(\w+)/", line):
            package = match[1]
        elif package in PACKAGES:
            names = line[:34].split("  ")[1]
            listed |= {f"{package}/{name}" for name in re.findall(r"(\w+)/", names)}
    present = {
        name_of(folder)
        for package in PACKAGES
        for folder in (ROOT / package).iterdir()
        if folder.is_dir() and folder.name != "__pycache__"
    }
    assert listed == present, f"missing {present - listed}, stale {listed - present}"
    assert len(tree.splitlines()) <= 24
