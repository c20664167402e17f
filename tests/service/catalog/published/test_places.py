"""What `--from` and SUBNET_MIRRORS may name."""

from __future__ import annotations

import pytest

from models.errors import InputError, NotFound
from service.catalog.published import read_place


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", NotFound),
        ("no/such/folder", NotFound),
        ("ftp://somewhere/x", InputError),
        ("file:///tmp", InputError),
        ("https://", InputError),
    ],
)
def test_what_is_no_place_is_refused(text, kind):
    with pytest.raises(kind, match="--from: expected an http or https URL"):
        read_place(text, "--from")
