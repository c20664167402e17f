"""Searches as jobs: submitted, queued, worked on, recovered when a worker dies; webhooks sent.

Read `submission`, `queue`, `worker`, then `recovery` (what happens when a worker dies)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
