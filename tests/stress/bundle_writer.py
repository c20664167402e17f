"""Write files of a bundle over and over, for a storm that kills this process now and then.

python -m tests.stress.bundle_writer FOLDER
"""

from __future__ import annotations

import os
import sys
import time
from itertools import count
from pathlib import Path

from models.bundle import WEIGHTS, Bundle, add_to_bundle

PAUSE_S = 0.2


def main() -> None:
    """Write until it is killed: the weights as they are, and something new each time."""
    folder = Path(sys.argv[1])
    bundle = Bundle.open(folder)
    weights = bundle.content(WEIGHTS)
    sys.stderr.write('{"event": "working"}\n')
    sys.stderr.flush()
    for number in count(bundle.card.get("written", 0) + 1):
        files = {WEIGHTS: weights, "measured.jsonl.gz": os.urandom(200_000)}
        bundle = add_to_bundle(bundle, {"written": number}, files)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
