"""Starting from a trained supernet: its weights, under a classifier for other classes.

Read `base_weights`; `adaptation` chooses the phases for the images and the time that there is."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
