"""Files of a user's own that add layer kinds, families, runtimes, limits, predictors or formats."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import typer

VARIABLE = "SUBNET_EXTENSIONS"
PACKAGES = ("latency_tables", "models", "search", "service")
INSTALLED_IN = __name__.removesuffix(".cli.extensions").removesuffix("service")
"""What stands before the names of the packages: nothing, or `subnet_search.` in a wheel."""


def load_extensions() -> None:
    """Import what `SUBNET_EXTENSIONS` names: Python files, or modules that Python finds.

    Options of limits are part of the command, so this comes before the command is built.

    Raises:
        SystemExit: if one cannot be imported (exit code 2); stderr says which and why.
    """
    names = [name for name in map(str.strip, os.environ.get(VARIABLE, "").split(",")) if name]
    if names and INSTALLED_IN:
        sys.meta_path.insert(0, _Packages())
    for name in names:
        try:
            if name.endswith(".py"):
                _import_file(Path(name))
            else:
                importlib.import_module(name)
        except Exception as error:
            text = f"cannot import {name!r}: {type(error).__name__}: {error}"
            typer.echo(
                f"error: {VARIABLE}: {text}; expected Python files or modules, separated by commas",
                err=True,
            )
            raise SystemExit(2) from None


class _Packages(MetaPathFinder, Loader):
    """Lets extensions import `models.layers` as in the repository, where a wheel has it as
    `subnet_search.models.layers`: it finds the very same modules."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name.partition(".")[0] in PACKAGES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(INSTALLED_IN + spec.name)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import has replaced it.
        found = module.__spec__
        module.__spec__ = found.loader_state if found is not None else None


def _import_file(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # As an import does: a runtime's file is found through its module.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
