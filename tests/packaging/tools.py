"""Programs of others that are not development tools: `.ci/run` puts them beside the environment."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

PLACE = Path(
    os.environ.get("SUBNET_GENERATORS", Path(__file__).parents[2] / ".venv" / "generators")
)


def other_tool(name: str) -> str:
    """The path of a program; without it the test skips and says so."""
    folders = (PLACE / "bin", PLACE / "node_modules" / ".bin")
    found = shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ["PATH"]]))
    if found is None:
        pytest.skip(f"{name} is not installed: .ci/run says how")
    return found
