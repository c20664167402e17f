"""The search for the most accurate network within limits.

Read `problem`, `run`, `niches`, `breeding`; then `whole_range` and `warm_start_pool`, which fronts
and the exploration of a predictor are made from."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
