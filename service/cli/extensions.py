"""Files of a user's own that add layer kinds, families, runtimes, limits, predictors or formats."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

import typer

VARIABLE = "SUBNET_EXTENSIONS"


def load_extensions() -> None:
    """Import what `SUBNET_EXTENSIONS` names: Python files, or modules that Python finds.

    Options of limits are part of the command, so this comes before the command is built.

    Raises:
        SystemExit: if one cannot be imported (exit code 2); stderr says which and why.
    """
    for name in filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))):
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


def _import_file(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # As an import does: a runtime's file is found through its module.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
