"""How long commands take to start, as ratios to `python -c "import numpy"`.

Bars, on an idle machine of two cores: `--help` under 0.4 s, `devices list` under 0.8 s.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

RUNS = 5


def seconds(args, env):
    """Median time of a process."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        subprocess.run([sys.executable, *args], env=env, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def test_startup(tmp_path):
    env = {**os.environ, "SUBNET_HOME": str(tmp_path / "home")}
    numpy_s = seconds(["-c", "import numpy"], env)
    print(f"\n{'import numpy':<28} {numpy_s:5.2f} s")

    def row(name, *args):
        time_s = seconds(["-m", "service", *args], env)
        print(f"{name:<28} {time_s:5.2f} s  {time_s / numpy_s:4.1f} x")

    row("--help", "--help")
    row("devices list, no database", "devices", "list")
    subprocess.run([sys.executable, "-m", "service", "keys", "list"], env=env, check=True)
    row("devices list, a database", "devices", "list")
