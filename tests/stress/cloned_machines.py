"""Two machines of one name on one PostgreSQL: no living worker is taken over, a dead one is.

    python -m tests.stress.cloned_machines [--searches 100] [--as clones|containers|copies]

Each machine is a set of Linux namespaces (as root: `unshare --uts --pid --mount`) with the same
host name and machine-id, and one worker as its process 1. What else they share:

    containers  the kernel, and so its boot id
    clones      the number of the PID namespace, which is the same for the first of every kernel
    copies      both, as copies of a running machine do

Exit code 1 if a living worker is taken over, a search is worked on twice, or the searches of a
worker that is killed at the end are not taken over.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

from tests.postgres import cluster
from tests.stress.needs import require_postgresql, require_root
from tests.stress.service_under_load import (
    Site,
    all_finished,
    body,
    check,
    post_until_accepted,
    store_of,
    wait_until,
)

NAMES = ("worker-1", "worker-2")
HOST = "clone"
FIRST_PID_NAMESPACE = 0xEFFFFFFC
"""Number of the first PID namespace of every Linux kernel."""
FIRST = f"""
import os
_stat = os.stat
class _First:
    st_ino = {FIRST_PID_NAMESPACE}
def stat(path, *args, **kwargs):
    return _First() if str(path) == "/proc/self/ns/pid" else _stat(path, *args, **kwargs)
os.stat = stat
"""
"""What Python runs at its start: the process then sees what one outside all containers sees."""


class Machines(Site):
    """A site whose workers are on machines of their own."""

    def __init__(self, folder: Path, database_url: str, kind: str) -> None:
        super().__init__(folder, database_url, SUBNET_DEAD_AFTER_S="5")
        self.boot_ids = [folder / f"boot_id-{n}" for n in range(len(NAMES))]
        for path in self.boot_ids:
            path.write_text(f"{uuid.uuid4()}\n")
        self.machine_id = folder / "machine-id"
        self.machine_id.write_text(f"{uuid.uuid4().hex}\n")
        self.kind = kind
        self.patch = folder / "patch"
        self.patch.mkdir()
        (self.patch / "sitecustomize.py").write_text(FIRST)

    def command(self, name: str, arguments: tuple[str, ...]) -> list[str]:
        """The command of a process, on its machine."""
        command = super().command(name, arguments)
        if name == "serve":
            return command
        number = NAMES.index(name)
        boot_id = self.boot_ids[number if self.kind == "clones" else 0]
        steps = [f"hostname {HOST}", f"mount --bind {self.machine_id} /etc/machine-id || true"]
        if self.kind != "containers":
            steps.append(f"mount --bind {boot_id} /proc/sys/kernel/random/boot_id")
            steps.append(f"export PYTHONPATH={self.patch}:$PYTHONPATH")
        steps.append('exec "$@"')
        unshare = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return [*unshare, "sh", "-ec", "; ".join(steps), "sh", *command]


def share(site: Machines, searches: int) -> list[str]:
    """Both machines do the searches; what they logged of each other."""
    for name in ("serve", *NAMES):
        site.start(name)
    site.wait_until_ready(workers=len(NAMES))
    ids = []
    for seed in range(searches):
        found = post_until_accepted(site, seed, random.Random(seed))
        assert found is not None
        ids.append(found)
    all_finished(site, ids, patience_s=3600)
    return ids


def taken_over(site: Site) -> int:
    """How often a worker took another for dead."""
    return sum(site.logged(name, "took_over") for name in NAMES)


def kill_one(site: Machines) -> float:
    """Kill the worker that works on a search; seconds until the other has taken it over."""
    with site.client() as client:
        search_id = client.post("/v1/searches", json=body(10_000)).json()["id"]
    with store_of(site) as store:
        wait_until(lambda: store.get(search_id).status != "queued")
    site.processes[NAMES[0]].kill()  # and with it its whole machine
    killed = time.monotonic()
    wait_until(lambda: taken_over(site) > 0)
    took_s = time.monotonic() - killed
    all_finished(site, [search_id])
    return took_s


def main() -> int:
    """Run it for one kind of machines, or for all."""
    kinds = ("containers", "clones", "copies")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=100)
    parser.add_argument("--as", dest="kinds", choices=kinds, action="append")
    given = parser.parse_args()
    require_root()
    require_postgresql()
    failed = 0
    for kind in given.kinds or kinds:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            site = Machines(folder, stack.enter_context(cluster()).create_database(), kind)
            stack.callback(site.stop)
            started = time.monotonic()
            ids = share(site, given.searches)
            found, wrongly = check(site, ids), taken_over(site)
            ok = wrongly == 0 and not found.get("started again")
            took_s = kill_one(site) if ok else None
            failed += not ok
            print(
                f"{kind}: {'passed' if ok else 'FAILED'}: living workers taken over: {wrongly}, "
                f"{found}, a killed one was taken over after {took_s and round(took_s, 1)} s, "
                f"{time.monotonic() - started:.0f} s in all",
                flush=True,
            )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
