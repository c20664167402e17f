"""What can be searched: spaces, architectures as values, and the walk over a network's layers.

Read `space`, then `plan`, then a family (`mobile`, `resnet`). No torch here."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
