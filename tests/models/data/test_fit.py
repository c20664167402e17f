"""Photos of any shape become inputs as training images did, by the lines that users are given."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from models.bundle.card import photo_fit_of
from models.data.fit import PhotoFit
from models.data.image_folder import load_images
from models.data.preprocessing import preprocess
from tests.spaces import DEBUG

ROOT = Path(__file__).resolve().parents[3]
DOCS = (ROOT / "docs/running.md").read_text()
PROGRAMS = {language: text for language, text in re.findall(r"```(\w+)\n(.*?)```", DOCS, re.DOTALL)}
"""By language; of Python the last, which runs the model."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def run_docs_python(monkeypatch, folder, stated):
    """The input that the Python of the docs makes of photo.png."""
    seen = {}
    metadata = {"subnet_search.preprocess": json.dumps(stated)}

    def run(_, given):
        seen.update(given)
        return [np.zeros((1, 2))]

    meta = SimpleNamespace(custom_metadata_map=metadata)
    session = SimpleNamespace(get_modelmeta=lambda: meta, run=run)
    fake = SimpleNamespace(InferenceSession=lambda *_, **__: session)
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    monkeypatch.chdir(folder)
    exec(PROGRAMS["python"], {})
    return seen["input"]


@pytest.mark.parametrize("size", [(40, 25), (9, 31), (16, 16), (12, 12)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "fit",
    [PhotoFit(), PhotoFit(stored_size=16), PhotoFit(stored_size=12), PhotoFit(is_cropped=True)],
)
def test_the_docs_python_does_what_training_did(monkeypatch, tmp_path, fit, channels, size):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    mean, std, resolution = MEAN[:channels], STD[:channels], 12
    stated = {"channels": channels, "resolution": resolution, "mean": mean, "std": std}
    got = run_docs_python(monkeypatch, tmp_path, stated | fit.to_json(resolution))

    stored = load_images(
        [tmp_path / "photo.png"],
        channels=channels,
        size=fit.stored_size or resolution,
        central=fit.is_cropped,
    )
    expected = preprocess(stored, resolution=resolution, mean=mean, std=std)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, expected)


def test_cards_of_earlier_versions_have_a_fit():
    old = {"preprocess": {"mean": [0.5], "std": [0.5]}}
    assert photo_fit_of(old, DEBUG) == PhotoFit(is_cropped=True)
    trained = {**old, "recipe": {}}
    assert photo_fit_of(trained, DEBUG) == PhotoFit(stored_size=DEBUG.resolutions[-1])
    stated = {**trained, "preprocess": {**old["preprocess"], "fit": "squeeze", "stored_size": 28}}
    assert photo_fit_of(stated, DEBUG) == PhotoFit(stored_size=28)


def lines(text):
    return [line for line in text.splitlines() if line.strip()]


def test_the_page_shows_the_programs_of_the_docs():
    """But for their constants, which are the model's own there."""
    page = (ROOT / "service/web/snippets.js").read_text()
    python = lines(PROGRAMS["python"])
    same = python[python.index("box = None  # the whole photo") : -3]
    assert "\n".join(same) in page
    programs = lines((ROOT / "service/web/programs.js").read_text())
    constant = re.compile(r"how =|^(const|val) |model.onnx|^import|^#include <onnx")
    for language in ("js", "cpp", "kotlin"):
        own = [line for line in lines(PROGRAMS[language]) if line not in programs]
        assert own
        assert all(map(constant.search, own))
