"""The REST API and the pages.

Read `app`, `dependencies`, then `routes`; `middleware` is what wraps every request."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
