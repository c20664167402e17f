"""The pinned versions can be installed with every Python that the product is for."""

from __future__ import annotations

import tomllib
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.packaging.conftest import ROOT

OLDEST = "3.11.2"
"""Debian 12's, older than what version managers and images give."""


def test_no_pinned_version_asks_for_a_newer_python():
    refused = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, _, pinned = line.partition("==")
        for found in metadata.distributions(name=name):
            needed = found.metadata.json.get("requires_python", "")
            if found.version == pinned and OLDEST not in SpecifierSet(str(needed)):
                refused[line] = needed
    assert not refused, f"not for Python {OLDEST}"


def test_every_dependency_has_a_pinned_version_that_it_admits():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.partition("==") for line in lines)
    pinned = {canonicalize_name(name): version for name, _, version in pairs}
    for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        wanted = Requirement(line)
        assert pinned[canonicalize_name(wanted.name)] in wanted.specifier, line
