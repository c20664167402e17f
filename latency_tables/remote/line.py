"""One connection: OpenSSH's own client runs the agent on the other machine, and they talk.

The user's configuration, keys, agent, jump hosts and known hosts apply. Nothing is asked here, for
a line that breaks must come back by itself: where ssh would ask for a password or whether a host is
the right one, the error says what to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from latency_tables.remote import agent
from models.errors import InputError, SubnetSearchError

OPTIONS = (
    *("-T", "-a", "-x"),
    *("-o", "BatchMode=yes"),
    # As scp has them: what a configuration adds for shells of people does not disturb the line.
    *("-o", "ClearAllForwardings=yes"),
    *("-o", "PermitLocalCommand=no"),
    *("-o", "RemoteCommand=none"),
)
SILENT_S = 30.0
"""A line that says nothing for so long is broken. The agent speaks every second, but while it
imports the runtime."""
MAX_LINE = 1 << 20
MAX_ERRORS = 8192
"""Bytes of what ssh says last that are kept."""
OnEvent = Callable[[dict[str, Any]], None]


class LineBroken(Exception):
    """The connection could not be made or has ended; another may do better."""


def check_host(host: str) -> None:
    """Check that `host` is one for ssh and not an option: HOST, USER@HOST or ssh://USER@HOST:PORT.

    Raises:
        InputError: if not.
    """
    parts = host.removeprefix("ssh://").split("@")
    if not all(parts) or any(p.startswith("-") for p in parts) or not re.fullmatch(r"[!-~]+", host):
        raise InputError(
            f"--ssh: expected USER@HOST, a host of your ssh configuration or ssh://USER@HOST:PORT, "
            f"got {host!r:.80}"
        )


class Line:
    """Asks the agent on one machine; each request is a connection of its own."""

    def __init__(self, host: str, python: str = "python3") -> None:
        """
        Args:
            python: program there; "~/" is that machine's home folder.

        Raises:
            InputError: `host` cannot be one.
        """
        check_host(host)
        self.host, self.python = host, python
        self._program = Path(agent.__file__).read_bytes()

    @property
    def remote_python(self) -> str:
        """Python as the other machine's shell reads it."""
        home, path = ("~/", self.python[2:]) if self.python.startswith("~/") else ("", self.python)
        return home + shlex.quote(path)

    @property
    def command(self) -> list[str]:
        """The client's command; its last word is for the other machine's shell."""
        # Also Python 2 reads this, and says that it is too old. The folder in which a session
        # starts is no place to import from.
        first = (
            "import sys; v = sys.version_info; sys.path = [p for p in sys.path if p]; "
            'sys.stdout.write(\'%s{"kind": "old", "python": "%d.%d"}\\n\' % '
            f"(({agent.MARK!r},) + tuple(v[:2]))) if v < (3, 9) else "
            f"eval(compile(sys.stdin.buffer.read({len(self._program)}), 'agent', 'exec'))"
        )
        there = f"exec {self.remote_python} -c {shlex.quote(first)}"
        return ["ssh", *OPTIONS, "--", self.host, there]

    def ask(
        self,
        request: dict[str, Any],
        on_event: OnEvent = lambda _: None,
        payload: bytes = b"",
        silent_s: float | None = None,
    ) -> dict[str, Any]:
        """Have a task of the agent done; returns its last event.

        Args:
            payload: bytes that the agent may want.
            silent_s: what the task may take without a word; `SILENT_S` unless given.

        Raises:
            LineBroken: the line broke before that.
            InputError: the host, its key, ours or Python is not as it must be, or the agent
                refuses.
            SubnetSearchError: the task failed there.
        """
        return asyncio.run(self._ask(request, on_event, payload, silent_s or SILENT_S))

    async def _ask(
        self, request: dict[str, Any], on_event: OnEvent, payload: bytes, silent_s: float
    ) -> dict[str, Any]:
        pipe = asyncio.subprocess.PIPE
        try:
            # In a session of its own: Ctrl-C is ours to handle, and there is no terminal to ask on.
            process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                limit=MAX_LINE,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise InputError(
                "--ssh: found no ssh here: install OpenSSH's client (on Debian: "
                "apt-get install openssh-client)"
            ) from error
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        said = bytearray()
        listening = asyncio.create_task(_keep_last(process.stderr, said))
        sending = asyncio.create_task(
            _send(process.stdin, self._program + json.dumps(request).encode() + b"\n")
        )
        try:
            async for event in _events(process.stdout, silent_s):
                if event["kind"] == "want":
                    await sending
                    rest = payload[event["offset"] :]
                    sending = asyncio.create_task(_send(process.stdin, rest))
                elif event["kind"] == "end":
                    return event
                elif event["kind"] in ("refused", "failed", "old"):
                    raise self._told(event)
                else:
                    on_event(event)
            code = await asyncio.wait_for(process.wait(), SILENT_S)
            # A connection that ssh keeps for later ones may hold the pipe open after its end.
            await asyncio.wait([listening], timeout=2)
            raise self._ended(code, said.decode(errors="replace"))
        except TimeoutError:
            raise LineBroken("nothing came any more") from None
        finally:
            sending.cancel()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the clients of jump hosts
            await process.wait()
            listening.cancel()
            process._transport.close()  # type: ignore[attr-defined] # all pipes, read or not

    def _told(self, event: dict[str, Any]) -> SubnetSearchError:
        """The error that the other machine tells."""
        if event["kind"] == "old":
            return InputError(
                f"{self.host}: expected Python 3.9 or newer, {self.python} there is "
                f"{event['python']}: name another with --python PATH"
            )
        kind = InputError if event["kind"] == "refused" else SubnetSearchError
        return kind(f"{self.host}: {event['text']}")

    def _ended(self, code: int, said: str) -> Exception:
        """What the end of ssh means, by its exit code and what it said."""
        if code in (126, 127):
            return InputError(
                f"{self.host}: found no {self.python} there: install Python 3.9 or newer, or name "
                "it with --python PATH"
            )
        lines = [line.strip() for line in said.splitlines() if line.strip(" @\r\n")]
        shown = "; ".join(lines[-3:]) or f"ssh ended with exit code {code}"
        if code == 255 and (todo := _what_to_do(said, self.host)):
            return InputError(f"{self.host}: {shown}: {todo}")
        return LineBroken(shown)


async def _events(out: asyncio.StreamReader, silent_s: float) -> AsyncIterator[dict[str, Any]]:
    """The agent's events; what else is printed there is left out.

    Raises:
        TimeoutError: nothing was printed for `SILENT_S` at first, for `silent_s` then.
    """
    patience_s = SILENT_S
    while line := await asyncio.wait_for(out.readline(), patience_s):
        patience_s = silent_s
        if line.startswith(agent.MARK.encode()):
            yield json.loads(line[len(agent.MARK) :])


async def _send(to: asyncio.StreamWriter, content: bytes) -> None:
    """Write all of it, unless the line ends: reading tells that."""
    with contextlib.suppress(ConnectionError):
        for start in range(0, len(content), 1 << 16):
            to.write(content[start : start + (1 << 16)])
            await to.drain()


async def _keep_last(errors: asyncio.StreamReader, said: bytearray) -> None:
    """Keep in `said` the last of what ssh says."""
    while data := await errors.read(4096):
        said += data
        del said[:-MAX_ERRORS]


def _what_to_do(said: str, host: str) -> str | None:
    """Advice for an error of ssh that does not pass by itself; None for others."""
    said, by_hand = said.lower(), shlex.join(["ssh", "--", host])
    name = host.removeprefix("ssh://").rpartition("@")[2]
    if "host identification has changed" in said:
        return (
            "another machine answers, or it was installed anew. Compare the fingerprint on the "
            "machine itself (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub); only if it is the "
            f"same, forget the old key with `{shlex.join(['ssh-keygen', '-R', name])}` and connect "
            f"once by hand: `{by_hand}`"
        )
    if "host key verification failed" in said or "host key is known" in said:
        return (
            f"this host is not known here. Connect once by hand, `{by_hand}`, and compare its "
            "fingerprint before you answer yes"
        )
    if "permission denied" in said or "too many authentication failures" in said:
        return (
            f"no key of yours opens it. Install one there (`{shlex.join(['ssh-copy-id', host])}`) "
            "and load it if it has a passphrase (`ssh-add`): passwords are not asked for here. "
            f"`{by_hand} true` must work without a question"
        )
    if "could not resolve hostname" in said:
        return "check the name, or give it an entry in your ssh configuration"
    if "bad configuration option" in said or "bad owner or permissions" in said:
        return "mend your ssh configuration"
    return None
