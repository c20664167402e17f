"""A supernet as a folder that is complete by itself, and the bundles that are shipped.

Read `bundle`, then `replacement` (how its files change all at once)
and `use` (what keeps it from being removed). `measured` and
`measure_accuracy` are a predictor's data."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
