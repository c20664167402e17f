"""The evolutionary search for the most accurate network within limits.

Read `problem`, `run`, `loop`, `evolution`; then `warm_start` and `warm_start_pool`, its start."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
