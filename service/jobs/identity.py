"""The name of a worker process, from which others can tell whether it has ended, where that is
certain.

A name is HOST/MACHINE/PID.START/RANDOM. HOST is for people. MACHINE stands for one boot of one
kernel and one PID namespace in it: cloned machines share host name and machine-id, and every
kernel's first PID namespace has the same number, but none share the boot id. START tells a process
from a later one with the same number.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import uuid
from functools import cache
from pathlib import Path

_NAME = re.compile(r"[^/]*/(?P<machine>[0-9a-f]{32})/(?P<pid>\d+)\.(?P<start>\d*)/[0-9a-f]{32}")


def new_executor() -> str:
    """A name for this process, never given twice."""
    pid = os.getpid()
    return f"{socket.gethostname()[:64]}/{_machine()}/{pid}.{_start(pid)}/{uuid.uuid4().hex}"


def has_ended(executor: str) -> bool:
    """Whether an executor was a process of this machine and PID namespace that no longer exists;
    false also where that cannot be told."""
    name = _NAME.fullmatch(executor)
    if name is None or name["machine"] != _machine():
        return False
    pid = int(name["pid"])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass  # it exists, or cannot
    return bool(start := _start(pid)) and start != name["start"]


@cache
def _machine() -> str:
    try:
        parts = [
            Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            *(str(os.stat(f"/proc/self/ns/{kind}").st_ino) for kind in ("pid", "time")),
        ]
    except OSError:
        # Not Linux, or no /proc: then no other process is of the same machine.
        return uuid.uuid4().hex
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


def _start(pid: int) -> str:
    """When a process was started, in clock ticks since boot; empty where that is hidden."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
