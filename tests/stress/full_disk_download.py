"""A download onto a disk that is full, then into a folder that cannot be written.

    python -m tests.stress.full_disk_download        (as root: it mounts a tmpfs of 1 MB)

Each time the error says so, nothing is left but what the next attempt continues, and once there is
room the file is whole.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from models.errors import SubnetSearchError
from models.published import PublishedFile
from service.catalog.published import fetch_published, read_place
from tests.service.file_server import file_server
from tests.stress.needs import require_root

PATH, SIZE = "ofa/nets/made-up", 3_000_000


def main() -> None:
    """Run it and print what was found."""
    require_root()
    content = os.urandom(SIZE)
    file = PublishedFile(PATH, hashlib.sha1(b"blob %d\0" % SIZE + content).hexdigest())
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "home"
        server = stack.enter_context(file_server())
        server.files = {PATH: content}
        home.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", home], check=True)
        stack.callback(lambda: subprocess.run(["umount", "-l", home], check=False))

        def attempt() -> str:
            try:
                return str(fetch_published(file, home, [read_place(server.url, "-")], only=True))
            except SubnetSearchError as error:
                return str(error)

        for options, expected in (
            ("remount,size=1m", "No space left on device"),
            ("remount,ro", "Read-only file system"),
        ):
            subprocess.run(["mount", "-o", options, home], check=True)
            said = attempt()
            print(said)
            assert expected in said
            left = [path for path in home.rglob("*") if path.is_file()]
            assert [path.name for path in left] == ["made-up.partial"], left
        held = left[0].stat().st_size
        subprocess.run(["mount", "-o", "remount,rw,size=8m", home], check=True)
        path = Path(attempt())
        assert path.read_bytes() == content
        assert server.requests[-1][1] == f"bytes={held}-"
        print(f"continued at {held} of {SIZE} bytes")


if __name__ == "__main__":
    main()
