"""Measuring a table: what to time, how, and from times to a table; here or on another machine.

Read `plan`, `rounds`, `table_assembly`, then `measure` (here) and `kit` (elsewhere)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
