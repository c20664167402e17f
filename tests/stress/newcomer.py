"""From an empty home to a delivered model of a published supernet, and how long it takes.

    python -m tests.stress.newcomer

A real server stands in for the place of publication. Its checkpoint is of filled tensors, its
predictor the published one where SUBNET_REFERENCE has it; both under blob ids of their own. It
cuts the first connection, and serves one bit off at first.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from models import published
from models.published import PublishedFile, published_supernets
from models.spaces import published_spaces
from models.supernet import from_published, to_published
from service.cli import app
from tests.golden.fill import checkpoint
from tests.golden.world import _predictor
from tests.service.file_server import Answer, FileServer, file_server

NAME, DEVICE, BUDGET_MS = "ofa-mbv3-w1.2", "samsung-note10", 20
LIMIT_S = 180


def run(*arguments: object) -> Result:
    """One command."""
    started = time.monotonic()
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    spent = time.monotonic() - started
    print(f"{spent:6.1f} s  exit {done.exit_code}  subnet-search {' '.join(map(str, arguments))}")
    return done


def published_here(server: FileServer, folder: Path) -> None:
    """Put the supernet on the server, and its ids in the list of this process."""
    listed = published_supernets()[NAME]
    assert listed.weights is not None
    assert listed.predictor is not None
    space, buffer = published_spaces()[NAME], io.BytesIO()
    tensors = to_published(space, from_published(space, checkpoint(NAME)), "released")
    torch.save({"state_dict": tensors}, buffer)
    reference = Path(os.environ.get("SUBNET_REFERENCE", "nowhere")) / "acc_predictor_mbv3_w1.2.pth"
    if not reference.exists():
        save_file(_predictor(NAME), reference := folder / "predictor.safetensors")
    server.files = {
        listed.weights.path: buffer.getvalue(),
        listed.predictor.path: reference.read_bytes(),
    }

    def own(file: PublishedFile) -> PublishedFile:
        content = server.files[file.path]
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return replace(file, blob=blob)

    here = replace(listed, weights=own(listed.weights), predictor=own(listed.predictor))
    known = {**published_supernets(), NAME: here}
    published.published_supernets = lambda: known  # type: ignore[assignment]


def photos(folder: Path) -> Path:
    """A few images in class folders."""
    for index in range(8):
        (folder / str(index)).mkdir(parents=True)
        coarse = np.random.default_rng(index).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((240, 240)).save(folder / str(index) / "0.png")
    return folder


def main() -> None:
    """Run it and print what was found."""
    with tempfile.TemporaryDirectory() as folder, file_server() as server:
        root = Path(folder)
        os.environ["SUBNET_HOME"] = str(root / "home")
        published_here(server, root)
        images = photos(root / "photos")
        download = ("supernets", "download", NAME, "--from", server.url)

        def one_bit_off(number: int, answer: Answer) -> Answer:
            half = len(answer.body) // 2
            flipped = bytes([answer.body[half] ^ 1])
            return replace(answer, body=answer.body[:half] + flipped + answer.body[half + 1 :])

        server.spoil = one_bit_off
        refused = run(*download)
        assert refused.exit_code == 1
        assert "not the published file" in refused.stderr
        assert not (root / "home" / "published").exists()
        assert not (root / "home" / "supernets").exists()

        cut = len(server.requests) + 1
        server.spoil = lambda n, a: replace(a, sent=10_000_000) if n == cut else a
        started, computing = time.monotonic(), sum(os.times()[:4])
        assert run(*download).exit_code == 0
        search = ("search", "--supernet", NAME, "--device", DEVICE, "--latency-ms", BUDGET_MS)
        found = run(*search, "--json")
        spent, computed = time.monotonic() - started, sum(os.times()[:4]) - computing
        assert found.exit_code == 0, found.stderr
        assert any(wanted for _, wanted in server.requests), "nothing was continued"
        answer = json.loads(found.stdout)
        print(f"{spent:6.1f} s, {computed:.1f} s of processor time, from an empty home to")
        print(f"        {answer['top1']:.2f} % (predicted) in {answer['latency_ms']:.2f} ms")

        assert run(*download, "--calibration", images).exit_code == 0
        (root / "arch.json").write_text(found.stdout)
        out = root / "subnet.onnx"
        made = run("export", "--supernet", NAME, "--arch", root / "arch.json", "-o", out, "--json")
        assert made.exit_code == 0, made.stderr
        print(json.loads(made.stdout)["verified"])
        assert spent < LIMIT_S, (
            f"expected less than {LIMIT_S} s, on a machine with nothing else to do"
        )


if __name__ == "__main__":
    main()
