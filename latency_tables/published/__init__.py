"""Tables in foreign formats, and the tables that come with the program.

Read `builtin` and `shipped`; `publish` makes the shipped figures. For foreign formats read
`formats`, `rows` and one reader (`ofa_yaml`, `csv_table`, `ai_hub`), then `layer_names` and
`matching`, which find the layer of a name, and `assembly`. `template` prints a table to fill in."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
