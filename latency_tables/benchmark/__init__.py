"""Measuring a table: what to time, how to time it, and the table that follows.

Read `plan`, `rounds`, `table_assembly`, then `measure` (this machine) and `kit` (another one)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
