"""Who may do what: API keys, how many requests each may make, owners of searches, the audit log.

Read `api_keys`, then `rate_limits`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
