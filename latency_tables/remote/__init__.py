"""A measuring kit run on another machine over SSH, with OpenSSH's own client.

Read `agent` (what runs there), `line` (one connection to it), then `board` (the steps, over lines
that may break)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
