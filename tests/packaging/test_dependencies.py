"""What the product needs: for every Python that it is for, and of known licences."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.packaging.conftest import ROOT, needed_by

PERMISSIVE = re.compile(r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation")
COPYLEFT = re.compile(r"GPL|MPL|Mozilla|EPL|CDDL")
WEAK_COPYLEFT = {"certifi", "psycopg", "psycopg-binary", "pycountry"}
"""Changes to these have to be passed on; they are installed as they were published."""
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


def test_licences_are_those_that_the_docs_name():
    others = {}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in needed_by(project["dependencies"]):
        found = metadata.distribution(name)
        licence = licence_of(found)
        if COPYLEFT.search(licence) or not PERMISSIVE.search(licence):
            others[canonicalize_name(name)] = licence
    assert others.keys() == WEAK_COPYLEFT, others
    text = (ROOT / "docs" / "operate.md").read_text()
    assert all(f"`{name}`" in text for name in others)


def licence_of(distribution):
    """What a distribution says of its licence: an expression, a text's first line, classifiers."""
    found = distribution.metadata.json
    lines = str(found.get("license", "")).splitlines()[:1]
    classifiers = [text for text in found.get("classifier", ()) if text.startswith("License")]
    return " | ".join([str(found.get("license_expression", "")), *lines, *classifiers])
