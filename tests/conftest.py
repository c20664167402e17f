"""Settings of every test."""

from hypothesis import settings

# How long a test takes depends on the machine; nothing in this suite asserts it.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
