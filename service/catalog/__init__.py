"""Deployment contexts (a supernet on a device), fronts, explanations, energy.

Read `catalog`, then `deployment_context`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
