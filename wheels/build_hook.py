"""Put the product into one package of a wheel, since a name such as `models` is nobody's alone.

In the repository the packages `models`, `latency_tables`, `search` and `service` lie side by side
and import one another by these names. In a wheel they lie inside one package, and every import of
them, in modules and in stubs, is written with that package's name. Nothing is looked up anew at
run time, and a program that has a `models` of its own keeps it.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parents[1]
FACE = "subnet_search"
"""The folder whose files become those of the package itself."""
PACKAGES = ("latency_tables", "models", "search", "service")
_NAME = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+(?::[\w.]+)?")


class BuildHook(BuildHookInterface[Any]):
    """Stages the files, relocated, and has them included; an editable install is left alone.

    Its table in pyproject.toml has `package`, the name in site-packages, and `files`: files and
    folders of the repository.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Stage the files before the wheel is written."""
        self._stage = TemporaryDirectory(prefix="subnet-search-wheel-")
        if version == "editable":
            return
        stage = Path(self._stage.name)
        package = str(self.config["package"])
        for source, target in _chosen(self.config["files"]):
            staged = stage / target
            staged.parent.mkdir(parents=True, exist_ok=True)
            if source.suffix in {".py", ".pyi"}:
                staged.write_text(relocate(source.read_text(), package, str(target)))
            else:
                shutil.copyfile(source, staged)
        build_data["force_include"][self._stage.name] = package

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was staged."""
        self._stage.cleanup()


def _chosen(names: list[str]) -> Iterator[tuple[Path, Path]]:
    """Every file to be packed: where it lies, and its place in the package."""
    for name in names:
        chosen = ROOT / name
        for path in sorted(chosen.rglob("*")) if chosen.is_dir() else [chosen]:
            place = path.relative_to(ROOT)
            if path.is_file() and "__pycache__" not in place.parts:
                yield path, place.relative_to(FACE) if place.parts[0] == FACE else place


def relocate(text: str, package: str, place: str) -> str:
    """A module's source with its imports of `PACKAGES` written as imports from `package`.

    Raises:
        ValueError: if it has a line that would be wrong afterwards.
    """
    lines = text.splitlines(keepends=True)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            if (node.module or "").partition(".")[0] in PACKAGES:
                before = f"from {node.module}"
                lines[node.lineno - 1] = _replace(
                    lines[node.lineno - 1], before, f"from {package}.{node.module}", place
                )
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in PACKAGES:
                    if alias.asname is None:  # binds a top-level name, which there is none of
                        raise ValueError(f"{place}:{node.lineno}: expected `import ... as ...`")
                    before = f"import {alias.name}"
                    lines[node.lineno - 1] = _replace(
                        lines[node.lineno - 1], before, f"import {package}.{alias.name}", place
                    )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if _NAME.fullmatch(node.value) and not node.value.endswith((".py", ".json")):
                raise ValueError(
                    f"{place}:{node.lineno}: {node.value!r} would name no module of a wheel; "
                    "expected one made of `__name__` or `__package__`"
                )
    return "".join(lines)


def _replace(line: str, before: str, after: str, place: str) -> str:
    if line.count(before) != 1:
        raise ValueError(f"{place}: expected {before!r} once in {line!r}")
    return line.replace(before, after)
