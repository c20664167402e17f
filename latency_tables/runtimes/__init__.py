"""What runs and times a model: one file a runtime, found by name.

Read `runtime`, then `onnxruntime` and `openvino`. To add a runtime, write one such file, which
imports numpy and the runtime alone (a measuring kit carries it), and call `register_runtime` with
its `RUNTIME`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
