"""Wheels of this tree, built once, in environments that see the packages installed here."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from tests.processes import installed_server

ROOT = Path(__file__).resolve().parents[2]
BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
DECOYS = ("latency_tables", "models", "search", "service")


@dataclass
class Installed:
    """A wheel in an environment of its own, and an empty folder to work in.

    The folder holds modules of a user's own that are called as the repository's packages are.
    """

    wheel: Path
    environment: Path
    site: Path
    folder: Path

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return self.environment / "bin" / "python"

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of its programs: nothing points to the repository."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SUBNET_", "PYTHON"))}
        return {**kept, "SUBNET_HOME": str(self.folder / "home"), "SUBNET_WORKERS": "1"}

    def run(self, *command: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment; it must succeed."""
        program, *arguments = map(str, command)
        done = subprocess.run(
            [self.environment / "bin" / program, *arguments],
            cwd=self.folder,
            env={**self.variables, **variables},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done

    def names(self) -> set[str]:
        """What the wheel brings into site-packages."""
        with ZipFile(self.wheel) as archive:
            names = {name.partition("/")[0] for name in archive.namelist()}
        return {name for name in names if not name.endswith(".dist-info")}


def build(project: Path, into: Path) -> Path:
    """The wheel of a project of this repository."""
    command = [sys.executable, "-c", BUILD, str(into)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return into / done.stdout.split()[-1]


def install(wheel: Path, root: Path, packages: str) -> Installed:
    """Unpack a wheel into a new environment that finds other packages in the folder `packages`."""
    environment, folder = root / "environment", root / "folder"
    venv.create(environment, with_pip=False)
    variables = {"base": str(environment), "platbase": str(environment)}
    site = Path(sysconfig.get_path("purelib", "posix_prefix", vars=variables))
    with ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "packages.pth").write_text(packages)
    for distribution in metadata.distributions(path=[str(site)]):
        for entry in distribution.entry_points:
            command = environment / "bin" / entry.name
            command.write_text(
                f"#!{environment / 'bin' / 'python'}\n"
                f"import sys\nfrom {entry.module} import {entry.attr}\nsys.exit({entry.attr}())\n"
            )
            command.chmod(0o755)
    folder.mkdir()
    for name in DECOYS:
        (folder / f"{name}.py").write_text("WHOSE = 'the user'\n")
    return Installed(wheel, environment, site, folder)


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The product, installed from its wheel."""
    root = tmp_path_factory.mktemp("product")
    return install(build(ROOT, root), root, sysconfig.get_path("purelib"))


@pytest.fixture(scope="package")
def service_url(product: Installed) -> Iterator[str]:
    """A service of the installed product, with a worker process; its log is `serve.log`."""
    command = product.environment / "bin" / "subnet-search"
    log = product.folder / "serve.log"
    with installed_server(command, product.folder, product.variables, log) as url:
        yield url


@pytest.fixture(scope="session")
def client_alone(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The client, installed from its wheel beside what its metadata ask for, and nothing else."""
    root = tmp_path_factory.mktemp("client")
    packages = root / "packages"
    packages.mkdir()
    wheel = build(ROOT / "wheels" / "client", root)
    installed = install(wheel, root, str(packages))
    (distribution,) = metadata.distributions(path=[str(installed.site)])
    for name in needed_by(distribution.requires or ()):
        for file in metadata.distribution(name).files or ():
            top = file.parts[0]
            source = Path(str(metadata.distribution(name).locate_file(top)))
            if top not in {"..", "__pycache__"} and not (packages / top).exists():
                (packages / top).symlink_to(source)
    return installed


def needed_by(requirements: Iterable[str]) -> set[str]:
    """The names of all distributions that these lead to, with the extras that they name."""
    found: set[tuple[str, str]] = set()
    waiting = [(line, "") for line in requirements]
    while waiting:
        line, extra = waiting.pop()
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in {"", *requirement.extras}:
            if (requirement.name, wanted) not in found:
                found.add((requirement.name, wanted))
                requires = metadata.distribution(requirement.name).requires or ()
                waiting.extend((line, wanted) for line in requires)
    return {name for name, _ in found}
