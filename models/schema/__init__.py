"""Files that users write: read strictly, checked against one schema, errors with line and field.

Read `fields`, `validation`, then `documents`; `lines` finds the line of a field. No torch here."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
