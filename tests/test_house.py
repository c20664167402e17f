"""House rules that ruff, mypy and import-linter cannot express.

What they can express is said in pyproject.toml: no `print`, no unused import, layers.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("models", "latency_tables", "search", "service")
MAX_LINES, MAX_FUNCTION_LINES, MAX_MODULES = 400, 60, 14

SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
SCRIPTS = sorted((ROOT / "service" / "web").rglob("*.js"))
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Written in two parts so that this file keeps its own rule.
MACHINE_PATHS = tuple("/" + folder + "/" for folder in ("work", "root", "home"))
REGISTRIES = tuple(name + end for name, end in (("pypi", ".org"), ("pythonhosted", ".org")))

# Where the import name is not the distribution's name.
# What scripts and extensions import, and no other room.
PUBLIC = {
    "models.layers": {"OnnxGraph", "Shapes", "Work"},
    "search.costs": {
        "Limit",
        "latency_costs",
        "peak_memory_costs",
        "register_limit",
        "unregister_limit",
    },
    "search.predictors": {"Explored", "Sloped"},
    "service.client": {"Front", "LinkUnfinished", "Search", "Searches", "verify_webhook"},
}
# Still to be split.
IMPORTED_AS = {"pillow": "PIL", "pydantic-settings": "pydantic_settings", "pyyaml": "yaml"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text_files() -> Iterator[Path]:
    """Every file written by hand: the root's own, and those of the known folders."""
    folders = (*PACKAGES, "subnet_search", "wheels", "tests", "docs", ".ci")
    inside = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    names = (".gitignore", ".dockerignore", "Makefile", "Dockerfile", "LICENSE")
    root = (p for p in ROOT.iterdir() if p.name in names or p.suffix in {".md", ".toml", ".txt"})
    suffixes = {".py", ".cpp", ".md", ".toml", ".txt", ".ini", ".json", ".html", ".css", ".js", ""}
    yield from root
    yield from (p for p in inside if p.is_file() and p.suffix in suffixes)


def third_party_imports(path: Path) -> set[str]:
    """Top-level names imported anywhere in a file, less the standard library and ours."""
    names = set()
    for node in ast.walk(tree_of(path)):
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


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@pytest.mark.slow
def test_modules_say_what_they_are_for() -> None:
    silent = [
        path for path in SOURCES if tree_of(path).body and not ast.get_docstring(tree_of(path))
    ]
    assert not silent, f"no module docstring: {list(map(name_of, silent))}"


def test_modules_are_short_enough_to_read() -> None:
    lines = {
        name_of(path): len(path.read_text().splitlines()) for path in (*SOURCES, *SCRIPTS, *TESTS)
    }
    long = {name: count for name, count in lines.items() if count > MAX_LINES}
    assert not long, f"split them by what their parts are for: {long}"


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = [
        f"{name_of(path)}:{number}: {word}"
        for path in text_files()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for word in (*MACHINE_PATHS, *REGISTRIES)
        if word in line
    ]
    assert not found, "\n".join(found)


@pytest.mark.slow
def test_every_import_is_a_declared_dependency() -> None:
    undeclared = {
        name: name_of(path)
        for path in SOURCES
        for name in third_party_imports(path) - set(dependencies())
    }
    assert not undeclared, f"imported but not in pyproject.toml: {undeclared}"


def test_every_dependency_is_imported_where_its_comment_says() -> None:
    extras = PROJECT["optional-dependencies"]
    declared = (*PROJECT["dependencies"], *extras["notebook"], *extras["openvino"])
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

    extras = PROJECT["optional-dependencies"]
    wanted = (*PROJECT["dependencies"], *extras["dev"], *extras["stress"])
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
    made = {"__pycache__", "guide"}  # by Python, and by `make guide`
    present = {
        name_of(folder)
        for package in PACKAGES
        for folder in (ROOT / package).iterdir()
        if folder.is_dir() and folder.name not in made
    }
    assert listed == present, f"missing {present - listed}, stale {listed - present}"
    assert len(tree.splitlines()) <= 24


@cache
def imports_of(path: Path) -> list[tuple[str, str]]:
    """(module, name) of every absolute import anywhere in a file; name is "" for `import x.y`."""
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
    return found


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def face_of(room: str) -> dict[str, str]:
    """Name -> module of everything that the stub of a room offers."""
    stub = ROOT.joinpath(*room.split("."), "__init__.pyi").read_text()
    return {
        alias.asname or alias.name: node.module or ""
        for node in ast.walk(ast.parse(stub))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


ROOMS = sorted(
    module_of(path.with_suffix(".py")) for p in PACKAGES for path in (ROOT / p).rglob("*.pyi")
)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_entered_by_its_face(room: str) -> None:
    """No file outside a room imports a module inside it, not even for type checking alone."""
    face, inside = face_of(room), f"{room}."
    wrong = [
        f"{name_of(path)}: from {module} import {name}"
        for path in SOURCES
        if not f"{module_of(path)}.".startswith(inside)
        for module, name in imports_of(path)
        if (module.startswith(inside) and not is_face(module, room))
        or (module == room and name not in face)
    ]
    assert not wrong, "\n".join(wrong)


def is_face(module: str, room: str) -> bool:
    """Whether a module inside `room` is a room of its own, with a face that anybody may use."""
    return module in ROOMS and module != room


@pytest.mark.parametrize("room", ROOMS)
def test_a_face_offers_what_others_use(room: str) -> None:
    """Other rooms, or users in scripts and extensions; and no name hides a module."""
    outside = [p for p in SOURCES if not f"{module_of(p)}.".startswith(f"{room}.")]
    outside += (ROOT / "tests" / "extension").rglob("*.py")
    used = {name for p in outside for module, name in imports_of(p) if module == room}
    parent, _, own = room.rpartition(".")
    if parent in ROOMS:  # whose face may pass names on
        used |= {name for name, module in face_of(parent).items() if module == own}
    face = face_of(room)
    unused = set(face) - used - PUBLIC.get(room, set())
    assert not unused, f"imported by nobody outside: {sorted(unused)}"
    modules = {p.stem for p in ROOT.joinpath(*room.split(".")).iterdir()}
    hidden = {name for name, module in face.items() if name in modules and module}
    assert not hidden, f"names of the face that are modules of the room too: {sorted(hidden)}"


def test_folders_are_small_enough_to_know() -> None:
    modules = Counter(name_of(p.parent) for p in SOURCES if p.stem != "__init__")
    large = {folder: count for folder, count in modules.items() if count > MAX_MODULES}
    assert not large, f"make rooms of some modules: {large}"


@pytest.mark.slow
def test_functions_are_short_enough_to_read() -> None:
    """Longer ones say why in a comment `# long: ...` on a line of their `def`."""
    wrong = []
    for path in SOURCES:
        lines = path.read_text().splitlines()
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            head = lines[node.lineno - 2 : node.body[0].lineno - 1]
            explained = any("# long:" in line for line in head)
            if length > MAX_FUNCTION_LINES and not explained:
                wrong.append(f"{name_of(path)}:{node.lineno}: {node.name}, {length} lines")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", [ROOT / "README.md", *(ROOT / "docs").glob("*.md")], ids=name_of)
def test_pages_name_paths_that_exist(page: Path) -> None:
    """Decisions are left out: they name files as they were."""
    folders = "|".join((*PACKAGES, "tests", "docs"))
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", page.read_text())
    assert not [path for path in named if not (ROOT / path).exists()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "absent"),
    [
        (
            "import service.client as c, service.client.notebook; c.Client; c.Front",
            "fastapi sqlalchemy torch onnx onnxruntime pandas",
        ),
        ("from service.http import create_app; create_app().openapi()", "torch onnx onnxruntime"),
    ],
    ids=["client", "http"],
)
def test_a_process_loads_only_what_its_part_needs(code: str, absent: str) -> None:
    """What import-linter cannot see: faces are resolved at run time, and packages import others."""
    check = f"import sys; {code}; print(*({set(absent.split())} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == ""
