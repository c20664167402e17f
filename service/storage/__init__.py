"""Every table and every query; migrations, artifacts, backup; API keys and rate limits in `access`.

Read `tables`, `database`, then `searches` and `runs`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
