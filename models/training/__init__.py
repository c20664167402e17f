"""Training a supernet by a recipe, and single networks from scratch to compare with.

Read `recipe`, then `trainer`; `training_run` turns a recipe into a bundle. `training_watch` looks
on: it validates subnets (`validation`), tells how long it takes (`time_left`) and writes that down
(`training_log`). `preview` measures subnets of a checkpoint. `transfer` starts from a trained
supernet instead of random weights."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
