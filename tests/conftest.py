"""Settings of every test."""

import os

from hypothesis import settings

# Threads of torch that spin while they wait take the cores from whatever runs beside them. It has
# to be said before torch is imported; processes that tests start inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# How long a test takes depends on the machine; nothing in this suite asserts it.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
