"""The protocol of a runtime, and the runtimes by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from latency_tables.runtimes.onnxruntime import RUNTIME
from latency_tables.runtimes.openvino import RUNTIME as OPENVINO
from models.errors import InputError
from models.registry import Registry

DEFAULT_RUNTIME = RUNTIME.name


class OpenModel(Protocol):
    """A model that is ready to run on one fixed random input.

    It may have `ran_on: str | None`, the provider that ran every node, if the runtime tells: what
    was asked for is not always what runs. And it may have `infer`, which returns the logits of the
    images given, (batch, channels, height, width): then a delivered file's answers are compared
    under this runtime too.
    """

    def run(self) -> None:
        """Run one inference, untimed."""
        ...

    def time_ms(self) -> float:
        """Run one inference; returns its milliseconds."""
        ...


class Runtime(Protocol):
    """What opens and times models on this machine. Providers and their options are text, as the
    runtime itself spells it; None: its usual one. All errors of the user are `ValueError`.

    For `runtimes list` it may have `purpose` and `install`, what it is for and how to install it,
    in a few words each, and `providers()`, which lists those that are here. It may have
    `fixed_batch`: the providers that need the batch fixed in a model, and why.
    """

    @property
    def name(self) -> str:
        """What `Conditions.runtime` of its tables says."""
        ...

    def conditions(self, provider: str | None, threads: int) -> dict[str, Any]:
        """Fields of `Conditions` that the runtime knows: runtime_version, provider, threads, and
        processor where it is not this machine's CPU.

        Raises:
            ValueError: if the runtime is not installed or lacks the provider here.
        """
        ...

    def convert(self, model: bytes, precision: str) -> bytes:
        """What `open` reads, from an ONNX model that is at `precision` already. A kit holds
        converted models, so its device needs no converter."""
        ...

    def open(
        self, model: bytes, *, provider: str | None, threads: int, batch: int, io: str = "host"
    ) -> OpenModel:
        """Open what `convert` gave.

        Args:
            io: where input and output lie: "host", this machine's memory, from which each run
                copies them, or "device", the memory of the processor that runs the model. A timed
                run ends when its output is there. A runtime without the second may leave out this
                argument: `benchmark.open_models.open_model` passes it for "device" alone.

        Raises:
            ValueError: if the provider does not run it here, or not the whole of it, or has no
                memory of its own.
        """
        ...


_RUNTIMES: Registry[Runtime] = Registry("runtime")


def register_runtime(runtime: Runtime) -> None:
    """Make a runtime known by its name.

    Its class must be in a file that assigns the runtime to `RUNTIME` and imports nothing but numpy,
    the runtime and, inside `convert`, what converts: a kit carries that file.

    Raises:
        InputError: if another runtime has that name.
    """
    _RUNTIMES.register(runtime.name, runtime)


def unregister_runtime(name: str) -> None:
    """Remove a runtime; there may be none of that name."""
    _RUNTIMES.unregister(name)


def find_runtime(name: str) -> Runtime:
    """The runtime of a name.

    Raises:
        NotFound: no such runtime is registered; names those that are.
    """
    return _RUNTIMES[name]


def runtime_names() -> list[str]:
    """The names of all registered runtimes, sorted."""
    return sorted(_RUNTIMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSummary:
    """A runtime as it is on this machine."""

    name: str
    version: str | None
    """None where it is not available."""
    available: bool
    install: str | None
    """How to install it; None where it is available, or does not say."""
    providers: list[str]
    """Those that it has here."""
    purpose: str


def summarize_runtime(runtime: Runtime) -> RuntimeSummary:
    """What a runtime is for, and whether it can be used here."""
    version, providers = None, list[str]()
    try:
        version = str(runtime.conditions(None, 1)["runtime_version"])
        providers = getattr(runtime, "providers", list)()
        available = True
    except ValueError:
        available = False
    return RuntimeSummary(
        name=runtime.name,
        version=version,
        available=available,
        install=None if available else getattr(runtime, "install", None),
        providers=providers,
        purpose=getattr(runtime, "purpose", "added by an extension"),
    )


def why_fixed_batch(runtime: str, provider: str | None) -> str | None:
    """Why a provider needs the batch fixed in a model, in a few words; None if it does not, or
    nothing is known of it."""
    needing: Mapping[str, str] = {}
    if runtime in _RUNTIMES:
        needing = getattr(_RUNTIMES[runtime], "fixed_batch", {})
    return needing.get((provider or "").partition(":")[0])


def runtime_source(runtime: Runtime) -> bytes:
    """The file of a runtime.

    Raises:
        InputError: it has none that assigns `RUNTIME`.
    """
    module = inspect.getmodule(type(runtime))
    if module is None or module.__file__ is None or not hasattr(module, "RUNTIME"):
        raise InputError(f"runtime {runtime.name!r}: expected a file that assigns RUNTIME")
    return Path(module.__file__).read_bytes()


register_runtime(RUNTIME)
register_runtime(OPENVINO)
