"""From a network to a verified file: build, verify, time, sign.

Read `delivery`, then `model_builder`. `verification` checks a finished file again."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
