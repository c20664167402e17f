"""What scripts need besides the project: where it is missing, a line says so, with exit code 2.

This module imports nothing but the standard library.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

INSTALL = "pip install --constraint constraints.txt --editable '.[stress]'"
DEBIAN = Path("/usr/lib/postgresql")
"""Where Debian's package puts PostgreSQL's programs."""


def require_packages(*names: str) -> None:
    """Exit unless all of these can be imported."""
    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        _exit(f"needs {', '.join(missing)}, of the extra `stress`: {INSTALL}")


def require_postgresql() -> None:
    """Exit unless a PostgreSQL server can be started here (`tests.postgres.find_binaries`)."""
    if not (any(DEBIAN.glob("*/bin/initdb")) or shutil.which("initdb")):
        _exit("needs PostgreSQL's server: on Debian, apt-get install postgresql")


def require_programs(**packages: str) -> None:
    """Exit unless all of these programs are there, each named with Debian's package of it."""
    if missing := [name for name in packages if shutil.which(name) is None]:
        _exit(f"needs apt-get install {' '.join(packages[name] for name in missing)}")


def require_root() -> None:
    """Exit unless file systems can be mounted."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        _exit("mounts a file system, which needs root: run it with sudo")


def _exit(text: str) -> NoReturn:
    sys.stderr.write(f"error: this script {text}\n")
    raise SystemExit(2)
