"""A latency table as a value: its JSON and files, what is wrong with it, bounds of its predictions.

Read `table`, then `codec`, `prediction_bounds` and `linting`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
