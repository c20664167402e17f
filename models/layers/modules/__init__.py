"""Layers as torch modules, elastic and of one shape.

Read `elastic` first: pure slices, then thin modules."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
