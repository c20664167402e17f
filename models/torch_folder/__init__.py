"""A network as a folder that needs only torch: to be used, fine-tuned and brought back.

    weights.safetensors  every tensor, by the names of the layers
    model.py             the network, a line a layer
    architecture.json    space, architecture, and the supernet that they are of
    preprocessing.json   from pixels to the network's input; names of the classes
    finetune.py          training on a folder of class folders
    README.md

Read `contents`, which writes it, then `source`, which writes `model.py`, then `reading`: of a
folder that comes back only data is read, never its programs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
