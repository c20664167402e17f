"""What runs at the far end of an SSH line: checks the machine, keeps a kit there and runs it.

This file imports the standard library alone, for Python 3.9 on Linux and macOS: it is sent over the
line and never stored there. The first line that follows it on stdin is a request in JSON. Answers
are lines on stdout: `MARK` and an event in JSON; a login script may print others.

The measurement is a process of its own session, which the end of a line does not stop. It holds a
lock, one for all kits of this user: nothing else is measured here meanwhile. A later line finds the
lock taken and follows the same measurement.

In `ROOT`: `lock`; for each kit, named by its SHA-256, `KIT.part` while it is copied, then the
folder `KIT` with `run-ID`, the files of one measurement: the command that owns it, log, finished
rounds, exit code, result.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import types
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

MARK = "@subnet-search "
ROOT = Path.home() / ".cache" / "subnet-search" / "kits"
PATIENCE_S = 30
"""After so many seconds without the bytes that were promised, the line counts as broken."""
POLL_S = 1.0
STOP_S = 10.0
"""Time for a measurement to end when asked; then it is killed."""
HOLDER_BYTES = 512
"""Of the lock file."""
CHUNK = 48 * 1024
SHARE = re.compile(r"(\d+)% done[^(]*(\(.*\))?")
"""As `kit_script` prints its progress where there is no terminal: share, and what it is doing."""


class Refused(Exception):
    """What the user can mend, told as it is."""


def tell(kind: str, **fields: Any) -> None:
    """Send an event."""
    sys.stdout.write(f"{MARK}{json.dumps({'kind': kind, **fields})}\n")
    sys.stdout.flush()


# -- one measurement at a time --------------------------------------------------------------


@contextlib.contextmanager
def hold_lock(run: str) -> Iterator[IO[bytes] | None]:
    """The lock, marked as held for `run`; None if another process holds it. A process that was
    started meanwhile and inherited the file keeps it locked afterwards."""
    ROOT.mkdir(parents=True, exist_ok=True)
    for _ in range(5):
        with open(os.open(ROOT / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(0.1)  # perhaps another line only looks
                continue
            if not is_current(file):
                continue
            write_holder(file, run, detached=False)
            yield file
            return
    yield None


def is_current(file: IO[bytes]) -> bool:
    """Whether the locked file is still the one of that name: who leaves last removes it."""
    try:
        return os.stat(ROOT / "lock").st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def write_holder(file: IO[bytes], run: str, *, detached: bool) -> None:
    """Say in the lock who holds it."""
    holder = {"run": run, "pid": os.getpid(), "detached": detached, "host": platform.node()}
    # In one piece, for those who read it meanwhile.
    os.pwrite(file.fileno(), json.dumps(holder).encode().ljust(HOLDER_BYTES), 0)


def holder_of_lock() -> dict[str, Any] | None:
    """Who holds the lock; None if it is free."""
    for _ in range(10):
        try:
            with (ROOT / "lock").open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    holder: dict[str, Any] = json.loads(file.read())
                    return holder
                return None
        except FileNotFoundError:
            return None
        except ValueError:  # it has just been made
            time.sleep(0.1)
    raise Refused(f"{ROOT / 'lock'}: another process holds it and does not say for what")


# -- the tasks ------------------------------------------------------------------------------


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Whether the kit's runtime can run here: what is missing, else its conditions."""
    version = platform.python_version()
    missing = [name for name in request["modules"] if importlib.util.find_spec(name) is None]
    if missing:
        return {"python": version, "missing": missing}
    module = types.ModuleType("kit_runtime")
    sys.modules[module.__name__] = module
    exec(compile(request["runtime"], "runtime.py", "exec"), module.__dict__)
    try:
        conditions = module.RUNTIME.conditions(request["provider"], request["threads"])
    except ValueError as error:
        raise Refused(str(error)) from error
    return {"python": version, "missing": [], "runtime_version": conditions["runtime_version"]}


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Run a kit, or follow the run that is under way, to its end; sends the result."""
    kit = ROOT / request["kit"]
    run = kit / f"run-{request['run']}"
    with hold_lock(name_of(run)) as lock:
        if lock is None:
            check_holder(request, run)
        else:
            check_begun(request, run)
            if not (kit / "kit.json").exists() and not receive(request, kit):
                return {"ended": False, "why": "the kit arrived damaged"}
            if not (run / "result.json").exists():
                run.mkdir(exist_ok=True)
                (run / "owner").write_text(request["owner"])
                start(request, run, lock)
    follow(run / "log")
    return outcome(run)


def check_begun(request: dict[str, Any], run: Path) -> None:
    """Refuse a run that another command began, unless this one resumes."""
    if request["resume"] or not run.exists():
        return
    owner = run / "owner"
    if not owner.exists() or owner.read_text() != request["owner"]:
        raise Refused(
            f"a measurement of device {request['name']!r} is under way there or was stopped: go on "
            f"with --resume, or remove {run} there to start over"
        )


def check_holder(request: dict[str, Any], run: Path) -> None:
    """Refuse unless what holds the lock is this run, and it may be followed."""
    holder = holder_of_lock()
    if holder is None:
        return  # it has just ended
    if (holder["run"], holder["host"]) != (name_of(run), platform.node()):
        raise Refused(
            f"another measurement is under way (process {holder['pid']} on {holder['host']}, "
            f"{ROOT / holder['run']}): wait for its end, or stop it there"
        )
    check_begun(request, run)


def name_of(run: Path) -> str:
    """A run, as the lock names it."""
    return f"{run.parent.name}/{run.name}"


def receive(request: dict[str, Any], kit: Path) -> bool:
    """Take the rest of a kit, prove it by its hash and unpack it; False if it is another."""
    part, total = kit.with_suffix(".part"), request["bytes"]
    size = part.stat().st_size if part.exists() else 0
    if size > total:
        part.unlink()
        size = 0
    tell("want", offset=size)
    told = time.monotonic()
    with part.open("ab") as out:
        while size < total:
            signal.alarm(PATIENCE_S)
            data = os.read(0, min(1 << 16, total - size))
            if not data:
                raise SystemExit(1)
            out.write(data)
            size += len(data)
            if time.monotonic() - told >= POLL_S:
                told = time.monotonic()
                tell("copied", share=size / total)
    signal.alarm(0)
    if hashlib.sha256(part.read_bytes()).hexdigest() != request["kit"]:
        part.unlink()
        return False
    draft = kit.with_suffix(".new")
    shutil.rmtree(draft, ignore_errors=True)
    with zipfile.ZipFile(part) as archive:
        for member in archive.infolist():
            archive.extract(member, draft)
            if time.monotonic() - told >= POLL_S:
                told = time.monotonic()
                tell("copied", share=1.0)
    part.unlink()
    shutil.rmtree(kit, ignore_errors=True)  # without kit.json: not one of ours that is whole
    draft.rename(kit)
    return True


def start(request: dict[str, Any], run: Path, lock: IO[bytes]) -> None:
    """Start the measurement as a session of its own, which holds the lock until it has ended."""
    (run / "exit-code").unlink(missing_ok=True)
    if os.fork():
        return
    try:
        os.setsid()
        write_holder(lock, name_of(run), detached=True)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):  # or the line would wait for this process
            os.dup2(nowhere, descriptor)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, lambda *_: None)  # for the measurement, which has its own
        command = [sys.executable, str(run.parent / "measure.py"), "-o", str(run / "result.json")]
        with (run / "log").open("wb") as log:
            code = subprocess.call(
                [*command, *request["arguments"], "--", request["name"]],
                stdout=subprocess.DEVNULL,  # the name of its file
                stderr=log,
                cwd=run,
                pass_fds=[lock.fileno()],
            )
        (run / "exit-code").write_text(str(code))
    finally:
        os._exit(0)


def follow(log: Path) -> None:
    """Tell how far the measurement is until it has ended, or the line has."""
    at, wait_s = 0, POLL_S / 32
    share, doing = None, ""
    while holder_of_lock() is not None:
        lines, at = new_lines(log, at)
        for line in lines:
            found = SHARE.match(line)
            if found:
                share, doing = min(int(found[1]) / 100, 1.0), found[2] or ""
            else:
                tell("said", text=line)
        tell("measured", share=share, doing=doing)
        if select.select([0], [], [], wait_s)[0] and not os.read(0, 1):
            raise SystemExit(1)
        wait_s = min(2 * wait_s, POLL_S)


def new_lines(log: Path, at: int) -> tuple[list[str], int]:
    """The whole lines from a byte on, and where the next one begins."""
    try:
        with log.open("rb") as file:
            file.seek(at)
            content = file.read()
    except FileNotFoundError:
        return [], at
    whole = content[: content.rfind(b"\n") + 1]
    lines = [line.strip()[:500] for line in whole.decode(errors="replace").splitlines()]
    return [line for line in lines if line], at + len(whole)


def outcome(run: Path) -> dict[str, Any]:
    """Send the result of a run that has ended.

    Raises:
        Refused: it has failed; with what it said last.
    """
    result = run / "result.json"
    if result.exists():
        content = zlib.compress(result.read_bytes())
        for at in range(0, len(content), CHUNK):
            tell("part", data=base64.b64encode(content[at : at + CHUNK]).decode())
        return {"ended": True}
    try:
        code = int((run / "exit-code").read_text())
    except (FileNotFoundError, ValueError):
        return {"ended": False, "why": "the machine or somebody stopped the measurement"}
    if code == 130:
        raise Refused("the measurement was stopped: go on with --resume")
    said = (new_lines(run / "log", 0)[0] or ["nothing"])[-1]
    if code < 0:
        return {"ended": False, "why": f"the measurement was killed by signal {-code}: {said}"}
    raise Refused(f"measure.py ended with exit code {code}: {said} (see {run}/log there)")


def stop(request: dict[str, Any]) -> dict[str, Any]:
    """Stop a measurement; what is finished of it is kept."""
    run = f"{request['kit']}/run-{request['run']}"
    for which in (signal.SIGINT, signal.SIGKILL):
        deadline = time.monotonic() + STOP_S
        holder = holder_of_lock()
        if holder is None or (holder["run"], holder["host"]) != (run, platform.node()):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(-holder["pid"] if holder["detached"] else holder["pid"], which)
        while holder_of_lock() == holder and time.monotonic() < deadline:
            time.sleep(0.05)
    return {}


def remove(request: dict[str, Any]) -> dict[str, Any]:
    """Remove a run; and its kit and all folders that are then empty."""
    kit = ROOT / request["kit"]
    with hold_lock("") as lock:
        if lock is None:
            raise Refused("another measurement is under way")
        shutil.rmtree(kit / f"run-{request['run']}", ignore_errors=True)
        if not request["keep_kit"] and not any(kit.glob("run-*")):
            shutil.rmtree(kit, ignore_errors=True)
        if [path.name for path in ROOT.iterdir()] == ["lock"]:
            (ROOT / "lock").unlink()
            with contextlib.suppress(OSError):
                ROOT.rmdir()
                ROOT.parent.rmdir()
    return {}


def main() -> None:
    """Do what the first line asks for."""
    signal.alarm(PATIENCE_S)
    request = json.loads(sys.stdin.buffer.readline())
    signal.alarm(0)
    tasks = {"check": check, "measure": measure, "stop": stop, "remove": remove}
    try:
        tell("here")
        tell("end", **tasks[request["task"]](request))
    except Refused as error:
        tell("refused", text=str(error))
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:
        tell("failed", text=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
