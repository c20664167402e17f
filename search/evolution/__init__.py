"""The evolutionary search: most accurate network within limits.

Read `problem`, `run`, `evolution`; `warm_start` and `warm_start_pool` say where it starts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
