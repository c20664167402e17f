"""`devices`: list, show and lint (`listing`); import and fit (`adding`; others' formats in
`importing`); a table to fill in (`layer_keys`); measure this machine and write kits for others
(`measuring`), or measure them in their browsers (`linking`); check a table against this machine
(`checking`)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
