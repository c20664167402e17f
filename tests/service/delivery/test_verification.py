"""Signatures hold and break as they should, and `verify` finds what was altered."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from models.errors import Conflict, InputError
from service.delivery.signing import generate, is_signed, read_private, read_public
from tests.service.conftest import DEVICE, SUPERNET, busy_on, client_on
from tests.spaces import DEBUG

ASKED = {"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 0.8}}


@pytest.fixture
def key(tmp_path):
    generate(tmp_path / "key.pem")
    return tmp_path / "key.pem"


def test_a_key_is_its_owners_alone_and_never_overwritten(key):
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    with pytest.raises(Conflict, match="exists already"):
        generate(key)
    key.unlink()
    with pytest.raises(Conflict, match="key.pub.pem exists already"):
        generate(key)
    assert b"PRIVATE" in before


def test_a_signature_is_of_one_file_by_one_key(key, tmp_path):
    public = read_public(tmp_path / "key.pub.pem")
    signature = read_private(key).sign(b"model")
    assert read_private(key).sign(b"model") == signature
    assert is_signed(b"model", signature, public)
    assert is_signed(b"model", signature, read_public(key))
    assert not is_signed(b"modem", signature, public)
    generate(tmp_path / "other.pem")
    assert not is_signed(b"model", signature, read_public(tmp_path / "other.pub.pem"))


@given(position=st.integers(0, 511))
def test_no_bit_of_a_signature_can_change(position):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    signature = bytearray(private.sign(b"model"))
    signature[position // 8] ^= 1 << position % 8
    assert not is_signed(b"model", bytes(signature), private.public_key())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_another_tool_agrees(key, tmp_path):
    (tmp_path / "m").write_bytes(b"model")
    (tmp_path / "m.sig").write_bytes(read_private(key).sign(b"model"))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", tmp_path / "key.pub.pem"]
    command += ["-rawin", "-in", tmp_path / "m", "-sigfile", tmp_path / "m.sig"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_what_is_no_key_is_refused(tmp_path):
    (tmp_path / "junk.pem").write_bytes(b"junk")
    for read in (read_private, read_public):
        with pytest.raises(InputError, match="expected an Ed25519"):
            read(tmp_path / "junk.pem")
        with pytest.raises(InputError, match="cannot read a key"):
            read(tmp_path / "gone.pem")


@pytest.fixture
def exported(run, tmp_path):
    """A function that exports the smallest network."""
    (tmp_path / "arch.json").write_text(json.dumps(DEBUG.smallest.to_json()))
    on = ("--supernet", SUPERNET, "--arch", tmp_path / "arch.json", "-o")

    def export(*args, name="model.onnx"):
        run("export", *on, tmp_path / name, *args)
        return tmp_path / name

    return export


def results(document):
    return {check["name"]: check["passed"] for check in document["checks"]}


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("--precision", "int8"), ("--no-recalibrate",)])
def test_an_untouched_file_passes(run_json, exported, key, how):
    path = exported(*how)
    path.with_name("model.onnx.sig").write_bytes(read_private(key).sign(path.read_bytes()))
    document = run_json("verify", path, "--public-key", key.with_suffix(".pub.pem"))
    assert document["passed"] is True
    found = results(document)
    assert found.pop("latency") is None  # no device was named
    assert "made for no device" in document["checks"][-1]["detail"]
    assert set(found) == {"signature", "structure", "architecture", "supernet", "parity", "top1"}
    assert all(found.values())


def altered(path, change):
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def other_weights(model):
    weight = next(w for w in model.graph.initializer if w.name == "classifier.weight")
    value = np.roll(numpy_helper.to_array(weight), 1, axis=0)
    weight.CopyFrom(numpy_helper.from_array(value, weight.name))


def better_accuracy(model):
    entry = next(e for e in model.metadata_props if e.key == "subnet_search.verified")
    verified = json.loads(entry.value)
    verified["top1"]["value"] = 99.0
    entry.value = json.dumps(verified)


def other_supernet(model):
    entry = next(e for e in model.metadata_props if e.key == "subnet_search.supernet_sha256")
    entry.value = "0" * 64


def no_metadata(model):
    del model.metadata_props[:]


def fix_batch(model, batch):
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 7])
def test_a_file_of_a_fixed_batch_is_verified_by_batches_of_that_size(run_json, exported, batch):
    path = exported()
    altered(path, lambda model: fix_batch(model, batch))
    document = run_json("verify", path)
    found = results(document)
    assert found["parity"] is True
    assert found["top1"] is True
    assert found["latency"] is None
    (structure,) = (c for c in document["checks"] if c["name"] == "structure")
    assert structure["detail"].endswith(f"a batch of {batch}")


def stated(name, value):
    def change(model):
        entry = next(e for e in model.metadata_props if e.key == f"subnet_search.{name}")
        entry.value = value

    return change


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda model: fix_batch(model, 100_000), "expected a batch of at most 1024 images"),
        (stated("arch", "[]"), "metadata.arch: expected a table, got []"),
        (stated("predicted", '{"latency_ms": "1"}'), "metadata.predicted.latency_ms: "),
        (stated("verified", "{}"), "metadata.verified.recalibrated: missing"),
        (stated("verified", "{"), "metadata.verified: expected JSON"),
        (stated("verified", '{"recalibrated": true, "top1": 3}'), "metadata.verified.top1: "),
        (stated("preprocess", "7"), "metadata.preprocess: expected a table, got 7"),
    ],
)
def test_metadata_of_another_kind_fails_the_structure(run, exported, change, words):
    path = exported()
    altered(path, change)
    document = json.loads(run("verify", path, "--json", code=1).stdout)
    (failed,) = (check for check in document["checks"] if check["passed"] is False)
    assert failed["name"] == "structure"
    assert words in failed["detail"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "failing"),
    [
        (other_weights, {"parity"}),
        (better_accuracy, {"top1"}),
        (other_supernet, {"supernet"}),
        (no_metadata, {"structure"}),
    ],
)
def test_what_was_altered_is_found(run, exported, change, failing):
    path = exported()
    altered(path, change)
    result = run("verify", path, "--json", code=1)
    found = results(json.loads(result.stdout))
    assert failing <= {name for name, passed in found.items() if passed is False}
    assert all(name in result.stderr for name in failing)


@pytest.mark.slow
def test_a_wrong_signature_and_damage_are_found(run, exported, key):
    path = exported()
    signature = path.with_name("other.sig")
    signature.write_bytes(read_private(key).sign(b"something else"))
    public = key.with_suffix(".pub.pem")
    asked = ("--signature", signature, "--public-key", public)
    assert "signature failed" in run("verify", path, *asked, code=1).stderr
    assert "signature failed" in run("verify", path, "--public-key", public, code=1).stderr
    path.write_bytes(path.read_bytes()[:-100])
    assert "structure failed" in run("verify", path, code=1).stderr
    assert "cannot be read" in run("verify", path.with_name("gone"), code=2).stderr


def test_keygen(run_json, run, tmp_path):
    made = run_json("keygen", "-o", tmp_path / "k.pem")
    assert made["public_key"].endswith("k.pub.pem")
    assert "exists already" in run("keygen", "-o", tmp_path / "k.pem", code=2).stderr
    assert "a folder that exists" in run("keygen", "-o", tmp_path / "no" / "k.pem", code=2).stderr


@pytest.mark.slow
@pytest.mark.anyio
async def test_over_http(settings, key):
    async with busy_on(settings.model_copy(update={"signing_key": key})) as client:
        search = (
            await client.post("/v1/searches", json=ASKED, headers={"Prefer": "wait=60"})
        ).json()
        at = f"/v1/searches/{search['id']}/model.onnx"
        model, signature = await client.get(at), await client.get(f"{at}.sig")
        assert is_signed(model.content, signature.content, read_public(key))
        name = model.headers["Content-Disposition"].removesuffix('"')
        assert signature.headers["Content-Disposition"] == f'{name}.sig"'
        again = {"If-None-Match": signature.headers["ETag"]}
        assert (await client.get(f"{at}.sig", headers=again)).status_code == 304
    async with client_on(settings) as client:
        answer = await client.get(f"{at}.sig")
        assert answer.status_code == 404
        assert "SUBNET_SIGNING_KEY" in answer.json()["detail"]
