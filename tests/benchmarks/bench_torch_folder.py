"""Out as torch and back as ONNX, in an environment that has torch and safetensors alone.

    python -m tests.benchmarks.bench_torch_folder [--networks 3] [--seed 0] [--links] [--json FILE]

For random architectures of the shipped supernet, and for one of each published space with random
weights: the folder is written here; there, its `model.py` gives the logits and stages' outputs, and
its `finetune.py` trains for one epoch on pictures of two classes; here again it is imported, and
the ONNX file is verified. Wanted: outputs equal to 1e-6 of the largest, and every file passes.
Exits with 1 if not.

The environment is a new virtual one into which pip installs torch and safetensors. With --links, or
where pip cannot, it is a new one with links to the packages here of these two and of what they
require; which it was is printed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import torch
from packaging.requirements import Requirement

from models.machine.files import write_folder
from models.spaces import Arch, SearchSpace, published_spaces
from models.torch_folder.contents import TorchNetwork, folder_files, module_of, tensors_of
from service.catalog.catalog import open_catalog
from service.delivery.imported_network import import_network
from service.delivery.model_builder import ModelBuilder
from service.delivery.parity import noise_images, torch_outputs
from service.delivery.verification import verify_file
from service.settings import Settings
from tests.models.torch_folder.test_torch_folder import random_network

WANTED = 1e-6
SHIPPED = "fashion-mbv3"
PACKAGES = ("torch", "safetensors")
CLASSES, IMAGES = ("dark", "light"), 12
PIP_S = 900
ASK = """
import json, sys, torch
torch.set_num_threads(1)  # as here: other numbers of threads sum in another order
sys.path.insert(0, sys.argv[1])
from model import load
with torch.no_grad():
    outputs = load().forward_features(torch.load(sys.argv[2]))
torch.save(outputs, sys.argv[3])
names = {name.partition(".")[0] for name in sys.modules}
print(json.dumps(sorted(names & {"models", "service", "onnx", "onnxruntime", "PIL"})))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--links", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        python, how = environment(root / "env", links=asked.links)
        print(f"environment: {how}", flush=True)
        for number, network in enumerate(networks(asked.networks, asked.seed)):
            start = time.monotonic()
            row = out_and_back(root / f"net{number}", network, python)
            rows.append(row)
            passed = "passed" if row["passed"] else f"FAILED: {row['failed']}"
            print(
                f"{row['space']:20} {row['resolution']:4} px  off by "
                f"{row['relative_difference']:.2g} of the largest output, trained and back: "
                f"{passed}, {time.monotonic() - start:.0f} s",
                flush=True,
            )
    if asked.json:
        asked.json.write_text(json.dumps({"environment": how, "networks": rows}, indent=1))
    good = all(row["passed"] for row in rows)
    print(f"{len(rows)} networks, wanted at most {WANTED:g}: {'met' if good else 'MISSED'}")
    return 0 if good else 1


def networks(count: int, seed: int) -> Iterator[TorchNetwork]:
    """Of the shipped supernet, recalibrated; then of the published spaces, with random weights."""
    rng = np.random.default_rng(seed)
    bundle = open_catalog(Settings(home=Path(tempfile.gettempdir()) / "nothing")).supernets.get(
        SHIPPED
    )
    builder = ModelBuilder(bundle)
    for arch in bundle.space.decode(bundle.space.sample(count, rng)):
        yield TorchNetwork(
            space=bundle.space,
            arch=arch,
            tensors=tensors_of(builder.subnet(arch)),
            supernet=bundle.name,
            supernet_sha256=bundle.sha256,
            mean=bundle.mean,
            std=bundle.std,
            has_features=True,
            recalibrated=True,
        )
    for space in published_spaces().values():
        yield random_network(space, small_arch(space, rng), seed, has_features=True)


def small_arch(space: SearchSpace, rng: np.random.Generator) -> Arch:
    """A random architecture at the smallest resolution."""
    genes = space.sample(1, rng)
    genes[:, 0] = 0
    return space.decode(genes)[0]


def out_and_back(folder: Path, network: TorchNetwork, python: Path) -> dict[str, Any]:
    """One network on its whole way."""
    space, arch = network.space, network.arch
    write_folder(folder, folder_files(network))
    images = noise_images(space.channels, arch.resolution)
    logits, features = torch_outputs(
        module_of(space, arch, network.tensors), images, network.features
    )
    asked, answered = folder.with_suffix(".in"), folder.with_suffix(".out")
    torch.save(torch.from_numpy(images), asked)
    loaded = told(python, "-c", ASK, folder, asked, answered)
    found = torch.load(answered)
    off = max(
        float(np.abs(found[name].numpy() - x).max() / np.abs(x).max())
        for name, x in {"logits": logits, **features}.items()
    )
    pictures = folder.with_suffix(".images")
    draw(pictures, space.channels, arch.resolution)
    trained = told(python, folder / "finetune.py", pictures, "--epochs", 1, "--batch", 8)
    catalog = open_catalog(Settings(home=folder.with_suffix(".home")))
    import_network(catalog, folder, "back", images=pictures)
    model = (catalog.home / "networks" / "back" / "model.onnx").read_bytes()
    checks = {check.name: check.passed for check in verify_file(model, catalog)}
    failed = [name for name, passed in checks.items() if passed is False]
    if json.loads(loaded.splitlines()[-1]):
        failed.append(f"loaded {loaded}")
    if not (checks.get("parity") and checks.get("features")):
        failed.append("not compared")
    if "a new head for 2 classes" not in trained:
        failed.append("not trained")
    if not off <= WANTED:
        failed.append("outputs differ")
    return {
        "space": space.name,
        "resolution": arch.resolution,
        "arch": arch.to_json(),
        "relative_difference": off,
        "failed": failed,
        "passed": not failed,
    }


def draw(folder: Path, channels: int, size: int) -> None:
    """Dark and light pictures, in formats that torch alone reads."""
    rng = np.random.default_rng(0)
    kind, suffix = ("P5", "pgm") if channels == 1 else ("P6", "ppm")
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(IMAGES):
            pixels = rng.integers(0, 120, (size, size, channels)) + 120 * label
            head = f"{kind}\n{size} {size}\n255\n".encode()
            path = folder / name / f"{number}.{suffix}"
            path.write_bytes(head + pixels.astype(np.uint8).tobytes())


def told(python: Path, *arguments: object) -> str:
    """What a program prints there, isolated from this process's settings."""
    command = [str(python), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": ""})
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:3])[:200]}:\n{done.stdout}{done.stderr}")
    return done.stdout


def environment(folder: Path, *, links: bool) -> tuple[Path, str]:
    """The interpreter of a new environment with torch and safetensors, and what it is."""
    python = folder / "bin" / "python"
    wanted = [f"{name}=={distribution(name).version.partition('+')[0]}" for name in PACKAGES]
    if not links:
        print(f"pip installs {' '.join(wanted)} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", *wanted]
        try:
            subprocess.run(pip, capture_output=True, text=True, check=True, timeout=PIP_S)
            return python, f"new, by pip: {listed(python)}"
        except subprocess.TimeoutExpired:
            print(f"pip has not ended after {PIP_S} s", flush=True)
        except subprocess.CalledProcessError as error:
            print(f"pip cannot: {error.stderr.strip()[-200:]}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in required():
        for file in distribution(name).files or ():
            top = file.parts[0]
            source = Path(str(distribution(name).locate_file(top)))
            if top not in ("..", "__pycache__") and not (site / top).exists():
                (site / top).symlink_to(source)
    return python, f"new, with links to the packages here: {listed(python)}"


def required() -> list[str]:
    """Torch, safetensors, and what they require by themselves."""
    found: list[str] = []
    waiting = list(PACKAGES)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:  # of another platform
            continue
        found.append(name)
        for text in needs:
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                waiting.append(need.name)
    return found


def listed(python: Path) -> str:
    """The packages of an environment."""
    code = (
        "from importlib.metadata import distributions as d; print(*sorted({x.name for x in d()}))"
    )
    return told(python, "-c", code).strip()


if __name__ == "__main__":
    sys.exit(main())
