"""A typed client of the REST API; it imports neither SQLAlchemy nor torch.

Read `client`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
