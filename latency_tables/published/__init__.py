"""Tables in foreign formats, and the tables that come with the program.

Read `builtin`, `shipped`, then `formats`; `publish` makes the shipped figures."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
