"""What commands print: JSON and tables, progress bars, networks in text, fronts as plots."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
