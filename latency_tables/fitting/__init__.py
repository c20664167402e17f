"""Tables fitted to the times of whole networks, near a similar device's table if they are few.

Read `layer_costs`, `fit`, then `profiles`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
