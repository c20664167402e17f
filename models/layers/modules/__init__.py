"""The torch modules of each layer kind, elastic and of one shape.

Read `elastic` first, then the file of a kind."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
