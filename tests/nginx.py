"""nginx in front of a service, on a port of this machine, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.processes import PATIENCE_S

CONFIG = """
{user}
daemon off;
pid {folder}/pid;
error_log {folder}/errors;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache keys_zone=answers:1m;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {target};
            {directives}
        }}
    }}
}}
"""
USUAL = """
proxy_set_header Host $http_host;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_set_header X-Forwarded-Proto $scheme;
"""
"""What a proxy is usually told to pass on."""
WORKER = "www-data"
OTHER_USER = os.getuid() == 0
"""Whether its workers are of another user than the tests: only root may start such."""


def find_nginx() -> str | None:
    """The program, which Debian keeps off the path of users."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextmanager
def nginx(target: str, directives: str = "") -> Iterator[str]:
    """The URL of a proxy in front of `target`; without directives it adds no header.

    Raises:
        FileNotFoundError: if nginx is not installed.
    """
    program = find_nginx()
    if program is None:
        raise FileNotFoundError("no nginx: on Debian, apt-get install nginx-light")
    with tempfile.TemporaryDirectory(prefix="subnet-nginx-") as folder:
        os.chmod(folder, 0o711)  # its workers may enter, whoever they are
        port = free_port()
        text = CONFIG.format(
            user=f"user {WORKER};" if OTHER_USER else "",
            folder=folder,
            port=port,
            target=target,
            directives=directives,
        )
        config = Path(folder) / "nginx.conf"
        config.write_text(text)
        command = [program, "-p", folder, "-c", str(config), "-e", f"{folder}/errors"]
        running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            wait_for_port(port, running, Path(folder) / "errors")
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()
            running.wait(PATIENCE_S)


def free_port() -> int:
    """A port that nothing listens on and that no other process of the tests tries, for a server
    that cannot be told to choose; below those that the system gives out itself."""
    for port in range(20_000 + 2 * (os.getpid() % 6_000), 32_768):
        with socket.socket() as one, suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def wait_for_port(port: int, running: subprocess.Popen[bytes], errors: Path) -> None:
    """Wait until a server answers; `errors` is where it writes."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert running.poll() is None, errors.read_text()
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError("the server did not start")
