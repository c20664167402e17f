"""Networks as ONNX files: built from the plan, quantized, run and scored.

Read `builder`, then `export`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
