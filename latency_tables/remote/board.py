"""A machine at the end of an SSH line: checked, measured though lines break, and left clean."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import shlex
import sys
import time
import uuid
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from latency_tables.remote.line import Line, LineBroken
from latency_tables.runtimes import Runtime, runtime_source
from models.errors import InputError, SubnetSearchError

WAITS_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 60.0)
"""Before each new try after a line broke; the count starts over when the work has advanced."""
MAX_LINES = 100
"""Lines of one measurement, however far each brings it."""
IMPORT_S = 300.0
"""Time to import a runtime on a slow machine."""
COPYING = 0.05
"""Share when the kit is there."""
FETCHING = 0.99
"""Share when the result is fetched."""
MAX_RESULT = 256 * 2**20
"""Bytes of a result, before and after it is unpacked."""
MAX_SAID = 100
"""Lines of one measurement that are passed on."""
Say = Callable[[str], None]
"""Tells the user one line."""


class OnProgress(Protocol):
    """Called with the finished share, 0..1, and what is being done."""

    def __call__(self, share: float, word: str, /) -> None: ...


class Board:
    """One measurement on another machine."""

    def __init__(
        self,
        host: str,
        python: str,
        *,
        name: str,
        arguments: list[str],
        seconds: float,
        say: Say = lambda _: None,
        waits_s: tuple[float, ...] = WAITS_S,
    ) -> None:
        """
        Args:
            host: as ssh takes it.
            python: program there.
            name: of the device.
            arguments: of `measure.py`, but `--seconds`: with the name, they tell one measurement
                from another.
            seconds: to measure for.
            say: told of broken lines, and what the measurement says.
            waits_s: before each new try after a line broke.

        Raises:
            InputError: `host` cannot be one.
        """
        self._line = Line(host, python)
        self._say, self._waits_s = say, waits_s
        self._run = {
            "name": name,
            "owner": uuid.uuid4().hex,
            "arguments": [*arguments, f"--seconds={seconds}"],
            "run": hashlib.sha256(json.dumps([name, *arguments]).encode()).hexdigest()[:16],
        }

    def check(self, runtime: Runtime, provider: str | None, threads: int) -> str:
        """Check that the machine can be reached and has what measuring needs.

        Args:
            provider, threads: as the runtime takes them.

        Returns:
            the version of the runtime there.

        Raises:
            InputError: what is missing or refused, and what to do about it.
            SubnetSearchError: no connection, or the runtime cannot be imported there.
        """
        source = runtime_source(runtime)
        request = {
            "task": "check",
            "modules": sorted(modules_needed(source) | {"numpy"}),
            "runtime": source.decode(),
            "provider": provider,
            "threads": threads,
        }
        found = self._ask_once(request, IMPORT_S)
        if found["missing"]:
            raise InputError(self._missing(found["missing"], found["python"]))
        return str(found["runtime_version"])

    def _missing(self, names: list[str], version: str) -> str:
        host, python = shlex.quote(self._line.host), self._line.remote_python
        own = "python3 -m venv subnet-search && subnet-search/bin/pip install"
        return (
            f"{self._line.host}: {self._line.python} there (Python {version}) lacks "
            f"{' and '.join(names)}: install with `ssh {host} {python} -m pip install "
            f"{' '.join(names)}`; or into an environment of its own, `ssh {host} '{own} "
            f"{' '.join(names)}'`, and measure with --python subnet-search/bin/python"
        )

    def measure(
        self, kit: bytes, *, resume: bool = False, on_progress: OnProgress = lambda *_: None
    ) -> bytes:
        """Run a kit there; a line that breaks is made anew, and the measurement goes on meanwhile.

        Args:
            kit: the zip; one that is there already is not copied.
            resume: take up a measurement that is under way or was stopped.
            on_progress: told at least every second while the line holds.

        Returns:
            the file that the kit wrote.

        Raises:
            InputError: another measurement is under way there; or this one, without `resume`.
            SubnetSearchError: it failed, or the line does not come back.
        """
        work = _Work(on_progress, self._say)
        request = {
            "task": "measure",
            "kit": hashlib.sha256(kit).hexdigest(),
            "bytes": len(kit),
            "resume": resume,
            **self._run,
        }
        tries = 0
        for _ in range(MAX_LINES):
            advanced = work.share
            try:
                end = self._line.ask(request, work.take, kit)
                if end["ended"]:
                    return work.result()
                why = str(end["why"])
            except LineBroken as error:
                why = f"the line broke ({error})"
            tries = 0 if work.share > advanced else tries
            if tries == len(self._waits_s):
                break
            wait_s = self._waits_s[tries]
            tries += 1
            self._say(
                f"{self._line.host}: {why}; next try in {wait_s:.0f} s "
                f"({tries} of {len(self._waits_s)})"
            )
            time.sleep(wait_s)
        raise SubnetSearchError(
            f"{self._line.host}: {why}: gave up. A measurement that had begun there goes on, and "
            "--resume takes it up"
        )

    def stop(self, kit: bytes) -> None:
        """Stop the measurement there, if it is under way; what is finished of it is kept.

        Raises:
            SubnetSearchError: no connection.
        """
        self._ask_once({"task": "stop", "kit": hashlib.sha256(kit).hexdigest(), **self._run})

    def remove(self, kit: bytes, *, keep_kit: bool = False) -> None:
        """Remove what was put there.

        Args:
            keep_kit: remove the files of this run alone.

        Raises:
            SubnetSearchError: no connection, or another measurement is under way there.
        """
        which = {"kit": hashlib.sha256(kit).hexdigest(), **self._run}
        self._ask_once({"task": "remove", "keep_kit": keep_kit, **which})

    def _ask_once(self, request: dict[str, Any], silent_s: float | None = None) -> dict[str, Any]:
        try:
            return self._line.ask(request, silent_s=silent_s)
        except LineBroken as error:
            raise SubnetSearchError(f"{self._line.host}: no connection: {error}") from error


class _Work:
    """What the lines of one measurement have brought."""

    def __init__(self, on_progress: OnProgress, say: Say) -> None:
        self._show, self._say, self.share = on_progress, say, 0.0
        self._said: set[str] = set()
        self._parts: list[bytes] = []

    def take(self, event: dict[str, Any]) -> None:
        """Take an event of the agent."""
        if event["kind"] == "here":
            self._parts = []
        elif event["kind"] == "copied":
            self._reach(COPYING * float(event["share"]), "copying the kit")
        elif event["kind"] == "measured":
            done = min(float(event["share"] or 0), 1.0)
            self._reach(COPYING + (FETCHING - COPYING) * done, str(event["doing"]))
        elif event["kind"] == "said":
            if len(self._said) < MAX_SAID and event["text"] not in self._said:  # by each line
                self._said.add(event["text"])
                self._say(str(event["text"]))
        elif event["kind"] == "part":
            self._parts.append(base64.b64decode(event["data"]))
            self._reach(FETCHING, "fetching the result")
            if sum(map(len, self._parts)) > MAX_RESULT:
                raise SubnetSearchError(f"expected a result of at most {MAX_RESULT} bytes")

    def _reach(self, share: float, word: str) -> None:
        self.share = max(self.share, share)
        self._show(self.share, word)

    def result(self) -> bytes:
        """The file, from its parts."""
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(b"".join(self._parts), MAX_RESULT)
        if not unpacking.eof:
            raise SubnetSearchError(f"expected a result of at most {MAX_RESULT} bytes")
        return content


def modules_needed(source: bytes) -> set[str]:
    """Modules outside the standard library that a runtime's file imports to measure: all but those
    of its `convert`, which made the kit."""
    names: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
        skipped = (isinstance(node, ast.FunctionDef) and node.name == "convert") or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        nodes += [] if skipped else ast.iter_child_nodes(node)
    return names - sys.stdlib_module_names
