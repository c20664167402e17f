"""The kinds of layers: one file a kind says what it costs, computes and is called in files.

Read `spec`, then `kind`, then any kind, such as `conv`. `modules` holds the torch modules; the
kinds import them when they are asked for one, so nothing else here loads torch."""

import lazy_loader

from models.layers.bottleneck import Bottleneck
from models.layers.conv import Conv
from models.layers.kind import register_kind
from models.layers.linear import Linear
from models.layers.mbconv import MBConv
from models.layers.pooling import MaxPool, MeanPool

for _kind in (Conv(), MBConv(), Bottleneck(), MeanPool(), MaxPool(), Linear()):
    register_kind(_kind)

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
