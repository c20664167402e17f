"""A finished model tried on a device: judged as on this host, its answers compared."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from tests.service.conftest import SUPERNET, busy_on
from tests.service.links.phone import Phone, conditions, install_runtime

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def finished(client, phone, link):
    """A search for a device that was measured in a browser."""
    made = await link(client, {"supernet": SUPERNET, "device": "a-browser"})
    await phone.open(made["code"])
    await phone.send(phone.result((await phone.get("/plan")).json()))
    body = {"supernet": SUPERNET, "device": "a-browser", "constraints": {"latency_ms": 0.8}}
    answer = await client.post("/v1/searches", json=body, headers={"Prefer": "wait=60"})
    assert answer.json()["status"] == "succeeded", answer.text
    return answer.json()


async def make(client, request):
    answer = await client.post("/v1/links", json=request)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_model_is_tried(home, settings):
    from tests.service.conftest import make_table
    from tests.spaces import DEBUG

    install_runtime(home)
    async with busy_on(settings) as client:
        phone = Phone(client, make_table(), DEBUG)
        search = await finished(client, phone, make)
        made = await make(client, {"search": search["id"]})
        assert (made["purpose"], made["backends"], made["mode"]) == ("try", ["wasm"], None)
        opened = (await phone.open(made["code"])).json()
        assert opened["task"]["search"]["budget_ms"] == 0.8
        assert (await phone.get("/plan")).status_code == 404
        model = (await phone.get("/model")).content
        answer = await phone.get("/images")
        shape = [int(size) for size in answer.headers["Image-Shape"].split(",")]
        images = np.frombuffer(answer.content, "<f4").reshape(shape)
        assert shape[0] == 64
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        logits = session.run(None, {"input": images})[0]
        body = {
            "backend": "wasm",
            "conditions": conditions(),
            "times_ms": [[0.5, 0.6, 0.5, 0.5]] * 5,
            "logits": (logits + 1e-5).tolist(),
            "model_sha256": search["result"]["sha256"],
            "last": True,
        }
        for changes, words in (
            ({"model_sha256": "0" * 64}, "result.model_sha256"),
            ({"logits": logits[:5].tolist()}, "result.logits: expected 64 lists of"),
            ({"logits": [[None] * 10] * 64}, "result.logits"),
            ({"logits": "x"}, "result.logits"),
            ({"times_ms": [[0.5]] * 3}, "result.times_ms: expected 4 to"),
            ({"times_ms": [[0.5], [0.5, 0.5]] * 3}, "result.times_ms"),
            ({"times_ms": [[0.0]] * 5}, "result.times_ms"),
            ({"conditions": {"provider": "webgpu", "threads": 1}}, "result.conditions.provider"),
            ({"backend": "webgpu"}, "result.backend"),
        ):
            refused = await phone.send({**body, **changes})
            assert (refused.status_code, words in refused.json()["detail"]) == (422, True), changes
        tried = (await phone.send(body)).json()["try_result"]
        assert tried["latency_ms"]["outcome"] == "met"
        assert tried["latency_ms"]["value"] == 0.5
        assert tried["latency_ms"]["origin"] == "measured"
        assert tried["answers"] == {
            "images": 64,
            "largest_difference": pytest.approx(1e-5, abs=5e-6),
            "same_top1": 64,
            "tolerance": pytest.approx(1e-3 * max(1.0, abs(logits).max()), rel=1e-3),
            "passed": True,
        }
        assert tried["passed"]
        after = (await client.get(f"/v1/searches/{search['id']}")).json()
        assert after["result"]["verified"]["on_device"] == tried
        assert after["result"]["sha256"] == search["result"]["sha256"]
        assert (await client.get(f"/v1/links/{made['id']}")).json()["try_result"] == tried
        events = await client.get(f"/v1/searches/{search['id']}/events")
        assert 'event: tried\ndata: {"passed": true}' in events.text
        made = await make(client, {"search": search["id"]})
        await phone.open(made["code"])
        slow = {**body, "times_ms": [[1.5] * 4] * 5, "logits": (logits + 1.0).tolist()}
        tried = (await phone.send({**slow, "model_sha256": None})).json()["try_result"]
        assert tried["latency_ms"]["outcome"] == "missed"
        assert (tried["answers"]["passed"], tried["passed"]) == (False, False)
        after = (await client.get(f"/v1/searches/{search['id']}")).json()
        assert after["result"]["verified"]["on_device"] == tried, "the last one"


def test_nothing_is_kept_of_a_search_without_a_model(stored):
    from models.errors import Conflict, NotFound
    from tests.service.stored import new, succeed

    waiting = stored.submit(new(1))
    with pytest.raises(Conflict, match="has no model"):
        stored.note_try(waiting.id, {"passed": True})
    with pytest.raises(NotFound):
        stored.note_try("nobodys", {"passed": True})
    done = succeed(stored, 2, 1.0, 90.0)
    assert stored.state(done).tries == 0
