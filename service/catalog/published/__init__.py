"""Files that others published: fetched, proved to be the published ones, and imported.

Read `places`, `transfer`, `downloading`, then `supernets`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
