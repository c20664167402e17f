"""Tables from the times of whole networks, near another device's if they are few.

Read `layer_costs`, `fit`, then `profiles`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
