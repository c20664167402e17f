"""From a network to a checked file: build, verify, time, sign.

Read `delivery`, then `model_builder`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
