"""One set of weights for every network of a space, and subnets extracted from it.

Read `supernet`, then `extraction`; `channel_sorting` puts important channels first,
`checkpoint_file` reads files of weights, `checkpoint` maps the published namings,
and `static_network` loads published weights of a single network."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
