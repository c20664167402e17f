"""A little of what tests/stress/fuzz_devices.py does at length."""

from __future__ import annotations

import pytest

from service.settings import Settings
from tests.service.serving import serving
from tests.stress import fuzz_devices


@pytest.mark.slow
def test_device_uploads_are_kept_or_refused(home):
    with serving(Settings(home=home, workers=0)) as url:
        target = fuzz_devices.Target(url, home)
        fuzz_devices.fuzz(target, 100, 0)
        target.http.close()
    assert set(target.statuses) >= {201, 422}
