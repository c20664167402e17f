"""Accuracy predictors: what a search asks of one, the kinds that there are, and their files.

Read `predictor`, then `gaussian_process`; `mlp` reads the published ones."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
