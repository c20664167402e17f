"""Another device by a one-time address: what it times or tries, and what becomes of it.

Read `links`, then `plans` and `results` (a device measured), `trying` (a model tried);
`web_runtime` is the runtime that its browser loads."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
