"""A runtime whose measurement goes on once a file exists, which the provider names; its times are
those of the models' sizes. A kit carries it."""

import time
from pathlib import Path

PATIENCE_S = 300


class GatedRuntime:
    name = "gated"

    def conditions(self, provider, threads):
        if provider is None:
            raise ValueError("provider: expected the path of a gate, got none")
        return {"runtime_version": "1", "provider": provider, "threads": threads}

    def convert(self, model, precision):
        import onnx

        return onnx.load_from_string(model).graph.SerializeToString()[:2000]

    def open(self, model, *, provider, threads, batch, io="host"):
        deadline = time.monotonic() + PATIENCE_S
        while not Path(provider).exists():
            if time.monotonic() > deadline:
                raise ValueError("provider: the gate stayed shut")
            time.sleep(0.01)
        return GatedModel(len(model))


class GatedModel:
    def __init__(self, size):
        self.size = size

    def run(self):
        pass

    def time_ms(self):
        return self.size / 1e3


RUNTIME = GatedRuntime()
