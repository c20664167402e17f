"""Networks: predict, search and draw fronts (`searching`); write one as a file or a folder
(`exporting`); and the group `networks` (`commands`): what others published (`published`), and what
comes back after fine-tuning (`importing`). `options` and `architectures` are what they share."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
