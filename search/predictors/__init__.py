"""Accuracy predictors: what a search needs of one, the kinds there are, and their files.

Read `protocol`, `files` (which kinds register with), `gaussian_process`; `mlp` reads the published
ones."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
