"""A fresh clone: how long `make run` takes to a first verified model.

    python -m tests.stress.from_clone [--limit-s 75]

The committed tree is cloned into a new folder and `make run` started there; as soon as it serves, a
client asks for a model. pip's cache is used: run it twice, the second time tells the time with a
warm one. Exit code 1 if it takes longer than the limit.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from service.client import Client
from tests.nginx import free_port
from tests.processes import serving_url
from tests.stress.needs import require_programs

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Run it and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--limit-s", type=float, default=75.0)
    options = parser.parse_args()
    require_programs(git="git", make="make")
    left_out = ("SUBNET_", "PYTHON", "VIRTUAL_ENV", "MAKE")
    variables = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    with tempfile.TemporaryDirectory(prefix="subnet-clone-") as folder:
        clone, log = Path(folder) / "clone", Path(folder) / "log"
        started = time.monotonic()
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        command = ["make", "run", f"PORT={free_port()}"]
        print(f"{' '.join(command)}: it installs for a minute", flush=True)
        with log.open("w") as out:
            making = subprocess.Popen(
                command, cwd=clone, env=variables, stdout=out, stderr=out, start_new_session=True
            )
        try:
            url = serving_url(making, log)
            print(f"{time.monotonic() - started:6.1f} s  serves", flush=True)
            with Client(url) as client:
                search = client.search("fashion-mbv3", "cpu-x86-64-ort", latency_ms=0.4)
                client.download(search, Path(folder) / "model.onnx")
            spent_s = time.monotonic() - started
        finally:
            os.killpg(making.pid, signal.SIGTERM)
            making.wait()
        verified = search.found.verified
        assert verified["onnx_checker"] == "passed", verified
        print(f"{spent_s:6.1f} s  from the clone to a verified model", flush=True)
        if spent_s > options.limit_s:
            raise SystemExit(f"expected at most {options.limit_s:.0f} s")


if __name__ == "__main__":
    main()
