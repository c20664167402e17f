"""Artifacts on a disk that is full, then in a folder that cannot be written.

    python -m tests.stress.full_disk        (as root: it mounts a tmpfs of 1 MB)

Searches must fail with the reason, nothing be left half written, and all be well again once there
is room.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.stress.needs import require_root
from tests.stress.service_under_load import Site, all_finished, post_until_accepted, store_of


def ask(site: Site, seed: int) -> tuple[str, dict[str, object] | None]:
    """Ask for one search and wait; its status and error."""
    search_id = post_until_accepted(site, seed, random.Random(seed))
    assert search_id is not None
    all_finished(site, [search_id])
    with store_of(site) as store:
        search = store.get(search_id)
    return search.status, None if search.error is None else dict(search.error)


def main() -> None:
    """Run it and print what was found."""
    require_root()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        site = Site(folder)
        artifacts = site.home / "artifacts"
        artifacts.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", artifacts], check=True)
        stack.callback(lambda: subprocess.run(["umount", "-l", artifacts], check=False))
        stack.callback(site.stop)
        for name in ("serve", "worker-1"):
            site.start(name)
        site.wait_until_ready(workers=1)
        filler = artifacts / "filler"
        filler.write_bytes(bytes(1020 * 1024))
        status, error = ask(site, 1)
        print("full disk:", status, error)
        assert status == "failed"
        assert "No space left on device" in str(error)
        files = [path for path in artifacts.rglob("*") if path.is_file()]
        assert files == [filler], f"left behind: {files}"

        filler.unlink()
        subprocess.run(["mount", "-o", "remount,ro", artifacts], check=True)
        status, error = ask(site, 2)
        print("read-only:", status, error)
        assert status == "failed"
        assert "Read-only file system" in str(error)

        subprocess.run(["mount", "-o", "remount,rw", artifacts], check=True)
        found = [ask(site, seed)[0] for seed in (1, 2, 3)]
        print("room again:", found)
        assert found == ["succeeded"] * 3
        with store_of(site) as store:
            from service.storage.paging import SearchFilter

            items = store.page(SearchFilter()).items

        assert len(items) == 3
        for search in items:
            assert search.status == "succeeded"


if __name__ == "__main__":
    main()
