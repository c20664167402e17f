"""An SSH server on a port of this machine, for its own user, and a client configured for it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.nginx import free_port, wait_for_port
from tests.processes import PATIENCE_S

HOST = "board"
"""Its name in the client's configuration."""
SERVER = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv HOME={folder}/home
"""
CLIENT = """
Host {host}
HostName 127.0.0.1
HostKeyAlias {host}
Port {port}
User {user}
IdentityFile {folder}/identity
IdentitiesOnly yes
UserKnownHostsFile {folder}/known_hosts
GlobalKnownHostsFile /dev/null
"""


@dataclass(frozen=True)
class Sshd:
    """A server that runs, and the folder of its keys and files."""

    folder: Path
    pid: int

    @property
    def home(self) -> Path:
        """The home of its sessions."""
        return self.folder / "home"

    @property
    def path(self) -> str:
        """A PATH whose `ssh` reads the configuration for this server."""
        return f"{self.folder / 'bin'}:{os.environ['PATH']}"

    def reset(self) -> None:
        """Empty its home; its key is known, and the client has the right one."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        self.trust("host")
        self.identify("key")

    def trust(self, key: str | None) -> None:
        """What the client knows as the server's key: that of `host`, another, or none."""
        known = "" if key is None else f"{HOST} {(self.folder / f'{key}.pub').read_text()}"
        (self.folder / "known_hosts").write_text(known)

    def identify(self, key: str) -> None:
        """What the client says who it is with."""
        shutil.copy(self.folder / key, self.folder / "identity")

    def break_lines(self, how: signal.Signals = signal.SIGKILL) -> int:
        """Kill the processes of all connections, or stop them; returns how many."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for child in map(int, children):
            with suppress(ProcessLookupError):
                os.kill(child, how)
        return len(children)


def find_sshd() -> str | None:
    """The program, which Debian keeps off the path of users."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextmanager
def sshd() -> Iterator[Sshd]:
    """A server with keys of its own.

    Raises:
        FileNotFoundError: if OpenSSH's server is not installed.
    """
    program, client = find_sshd(), shutil.which("ssh")
    if program is None or client is None:
        raise FileNotFoundError("no sshd: on Debian, apt-get install openssh-server")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # else the system's service makes it
    with tempfile.TemporaryDirectory(prefix="subnet-sshd-") as name:
        folder, port = Path(name), free_port()
        for key in ("host", "key", "other"):
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(make, check=True)
        (folder / "bin").mkdir()
        words = {
            "folder": folder,
            "port": port,
            "host": HOST,
            "user": pwd.getpwuid(os.getuid()).pw_name,
        }
        (folder / "server").write_text(SERVER.format(**words))
        (folder / "client").write_text(CLIENT.format(**words))
        (folder / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {client} -F {folder}/client "$@"\n')
        (folder / "bin" / "ssh").chmod(0o755)
        log = folder / "log"
        running = subprocess.Popen(
            [program, "-D", "-f", str(folder / "server"), "-E", str(log)], stdin=subprocess.DEVNULL
        )
        try:
            wait_for_port(port, running, log)
            server = Sshd(folder, running.pid)
            server.reset()
            yield server
        finally:
            running.terminate()
            running.wait(PATIENCE_S)
