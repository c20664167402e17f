"""A first recipe for a user's images, and its file.

Read `plan` first: the choices. `candidates` has the spaces to choose from, `step_timing` says how
long parts take on this machine, `phases` fits them into the time, `recipe_file` writes it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
