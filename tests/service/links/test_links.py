"""Links over HTTP: made, opened once, answered by a device, and what it must not do."""

from __future__ import annotations

import re

import pytest

from service.links import links as links_module
from service.storage.access.links import MAX_OPEN
from tests.service.conftest import DEVICE, SUPERNET, client_on
from tests.service.links.phone import Phone
from tests.stress import fuzz_links

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_from_a_link_to_a_device(client, phone, link):
    made = await link(device="my-phone")
    assert made["url"] == f"http://localhost/measure#{made['code']}"
    assert made["qr_svg"].startswith("<svg")
    assert len(made["code"]) >= 22, "128 bits"
    assert (made["status"], made["devices"]) == ("open", [])
    opened = await phone.open(made["code"])
    assert opened.status_code == 201
    assert opened.headers["Cache-Control"] == "no-store"
    assert opened.json()["task"]["device"] == "my-phone"
    plan = (await phone.get("/plan")).json()
    assert len(plan["networks"]) == 24
    assert plan["models"][plan["canary"]]["input"][0] == 1
    model = await phone.get("/models/3")
    assert len(model.content) == plan["models"][3]["bytes"]
    assert (await phone.get("/models/99")).status_code == 404
    assert (await phone.report(networks=[{"macs": 1e6, "latency_ms": 2.5}])).json() == {
        "status": "running"
    }
    seen = (await client.get(f"/v1/links/{made['id']}")).json()
    assert (seen["status"], seen["url"], seen["code"], seen["qr_svg"]) == ("running", *[None] * 3)
    assert seen["progress"]["networks"] == [{"macs": 1e6, "latency_ms": 2.5}]
    body = phone.result(plan)
    answer = await phone.send(body)
    assert answer.status_code == 201, answer.text
    stored = answer.json()
    assert (stored["devices"], stored["origin"]) == (["my-phone"], "fitted")
    assert stored["expected_error"] < 0.05
    assert f"near the costs of device '{DEVICE}'" in stored["source"]
    assert (await phone.send(body)).json() == stored, "the same again"
    assert (await phone.send({**body, "stopped": "time"})).status_code == 409
    seen = (await client.get(f"/v1/links/{made['id']}")).json()
    assert (seen["status"], seen["devices"]) == ("succeeded", ["my-phone"])
    (table,) = (await client.get("/v1/devices/my-phone")).json()["tables"]
    assert table["conditions"] == {
        **table["conditions"],
        "runtime": "onnxruntime-web",
        "provider": "wasm",
        "processor": "Linux; Android 14; Pixel 8",
        "cross_origin_isolated": True,
        "first_session_ms": 812.5,
    }
    assert "clock_ms" not in table["conditions"]
    found = await client.post(
        "/v1/searches",
        json={"supernet": SUPERNET, "device": "my-phone", "constraints": {"latency_ms": 5.0}},
    )
    assert found.status_code == 202


async def test_a_link_is_opened_once(client, phone, link):
    made = await link()
    assert (await phone.open("nobody's")).status_code == 404
    assert (await phone.open(made["code"])).status_code == 201
    again = await Phone(client, phone.truth, phone.space).open(made["code"])
    assert (again.status_code, again.json()["title"]) == (410, "Gone")
    assert (await client.get("/v1/link-sessions/current")).status_code == 404
    wrong = {"Link-Session": "x" * 43}
    assert (await client.get("/v1/link-sessions/current/plan", headers=wrong)).status_code == 404


@pytest.mark.slow
async def test_a_device_is_named_after_its_browser(client, phone, link):
    names = []
    for _ in range(2):
        made = await link()
        assert made["device"] is None
        await phone.open(made["code"])
        assert (await client.get(f"/v1/links/{made['id']}")).json()["device"] is not None
        plan = (await phone.get("/plan")).json()
        names += (await phone.send(phone.result(plan))).json()["devices"]
    assert names == ["android-phone", "android-phone-2"]


@pytest.mark.slow
async def test_cancelled_and_stopped(client, phone, link):
    made = await link()
    await phone.open(made["code"])
    assert (await client.delete(f"/v1/links/{made['id']}")).json()["status"] == "cancelled"
    assert (await client.delete(f"/v1/links/{made['id']}")).status_code == 200, "twice is once"
    assert (await phone.report()).json() == {"status": "cancelled"}
    assert (await phone.get()).json()["status"] == "cancelled"
    for part in ("/plan", "/models/0"):
        assert (await phone.get(part)).status_code == 410
    made = await link()
    await phone.open(made["code"])
    plan = (await phone.get("/plan")).json()
    assert (await phone.report(phase="Stopped: the battery is low")).json() == {"status": "failed"}
    seen = (await client.get(f"/v1/links/{made['id']}")).json()
    assert (seen["status"], seen["error"]) == ("failed", "the battery is low")
    assert (await phone.send(phone.result(plan))).status_code == 410
    assert (await client.delete(f"/v1/links/{made['id']}")).status_code == 409


@pytest.mark.slow
async def test_two_backends(client, phone, link):
    made = await link(device="two", backends=["wasm", "webgpu"])
    await phone.open(made["code"])
    plan = (await phone.get("/plan")).json()
    assert (await phone.send(phone.result(plan, last=False))).json()["devices"] == ["two"]
    assert (await client.get(f"/v1/links/{made['id']}")).json()["status"] == "running"
    gpu = {"backend": "webgpu", "conditions": {"provider": "webgpu", "threads": 1}}
    assert (await phone.send(phone.result(plan, **gpu))).json()["devices"] == ["two-webgpu"]
    made = await link(device="one", backends=["wasm", "webgpu"])
    await phone.open(made["code"])
    answer = (await phone.send(phone.result(plan))).json()
    assert answer["warnings"] == ["the browser has no WebGPU"]
    seen = (await client.get(f"/v1/links/{made['id']}")).json()
    assert (seen["status"], seen["devices"]) == ("succeeded", ["one"])


@pytest.mark.slow
async def test_names_that_are_taken(client, phone, link):
    request = {"supernet": SUPERNET, "device": DEVICE}
    refused = await client.post("/v1/links", json=request)
    assert (refused.status_code, "replace" in refused.json()["detail"]) == (409, True)
    made = await link(device=DEVICE, replace=True)
    await phone.open(made["code"])
    plan = (await phone.get("/plan")).json()
    assert (await phone.send(phone.result(plan))).status_code == 201
    (table,) = (await client.get(f"/v1/devices/{DEVICE}")).json()["tables"]
    assert table["revision"] == 2
    first, second = await link(device="late"), await link(device="late")
    for made, status, rounds in ((first, 201, 8), (second, 409, 9)):
        await phone.open(made["code"])
        body = phone.result(plan, rounds=rounds)
        assert (await phone.send(body)).status_code == status


REFUSED = [
    ({}, 422, "expected one of supernet and search"),
    ({"supernet": SUPERNET, "search": "x"}, 422, "expected one of"),
    ({"search": "x", "threads": 2}, 422, "expected search alone"),
    ({"supernet": "nobodys"}, 404, "nobodys"),
    ({"search": "nobodys"}, 404, "nobodys"),
    ({"supernet": SUPERNET, "backends": ["wasm", "wasm"]}, 422, "each once"),
    ({"supernet": SUPERNET, "backends": []}, 422, "backends"),
    ({"supernet": SUPERNET, "precision": "fp16"}, 422, "precision"),
    ({"supernet": SUPERNET, "threads": 0}, 422, "threads"),
]


async def test_what_is_asked_is_checked(client):
    for request, status, words in REFUSED:
        answer = await client.post("/v1/links", json=request)
        assert (answer.status_code, words in answer.json()["detail"]) == (status, True), request


async def test_without_the_runtime_the_remedy_is_said(settings):
    settings = settings.model_copy(update={"runtimes": None})
    async with client_on(settings) as client:
        answer = await client.post("/v1/links", json={"supernet": SUPERNET})
    assert answer.status_code == 409
    assert "subnet-search runtimes install onnxruntime-web" in answer.json()["detail"]


@pytest.mark.slow
async def test_so_many_links_a_caller(client, link):
    made = [await link() for _ in range(MAX_OPEN)]
    answer = await client.post("/v1/links", json={"supernet": SUPERNET})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    await client.delete(f"/v1/links/{made[0]['id']}")
    await link()


@pytest.mark.slow
async def test_bodies_are_bounded(client, phone, link):
    answer = await client.post("/v1/link-sessions", json={"code": "x" * 5000})
    assert answer.status_code == 413
    made = await link()
    await phone.open(made["code"])
    assert (await phone.report(warnings=["x" * 300] * 200)).status_code == 413
    assert (await phone.send({"x": "y" * 9000, "z": ["y" * 9000] * 40})).status_code == 413
    assert (await phone.report(warnings=["x"] * 11)).status_code == 422
    assert (await phone.report(speed=[1.0] * 401)).status_code == 422


@pytest.mark.slow
async def test_owners_and_the_audit_log(web_home, settings, phone):
    """A device acts for whoever made its link, needs no key, and leaves a trace without secrets."""
    async with client_on(settings.model_copy(update={"access": "required"})) as client:
        service = client._transport.app.state.service  # type: ignore[attr-defined]
        owners = {}
        for name in ("ann", "bob"):
            secret, key = service.keys.create(name, "search")
            owners[name] = ({"Authorization": f"Bearer {secret}"}, key)
        ann, bob = owners["ann"][0], owners["bob"][0]
        assert (await client.post("/v1/links", json={"supernet": SUPERNET})).status_code == 401
        request = {"supernet": SUPERNET, "device": "anns"}
        made = (await client.post("/v1/links", json=request, headers=ann)).json()
        path = f"/v1/links/{made['id']}"
        assert (await client.get(path, headers=bob)).status_code == 404
        assert (await client.delete(path, headers=bob)).status_code == 404
        phone = Phone(client, phone.truth, phone.space)
        await phone.open(made["code"])
        plan = (await phone.get("/plan")).json()
        await phone.report()
        assert (await phone.send(phone.result(plan))).status_code == 201
        assert (await client.get("/v1/devices/anns", headers=ann)).status_code == 200
        assert (await client.get("/v1/devices/anns", headers=bob)).status_code == 404
        entries = [(e.owner, e.key_id, e.action, e.target) for e in service.audit.entries()]
        acts = [entry for entry in entries if "link-sessions" in entry[2]]
        assert acts == [
            ("ann", "link", "POST /v1/link-sessions/current/result", path),
            ("ann", "link", "POST /v1/link-sessions", path),
        ]
        secrets = (made["code"], phone.headers["Link-Session"])
        assert not [secret for secret in secrets if secret in repr(entries)]
        assert not re.search(
            "|".join(map(re.escape, secrets)), repr(service.links._store.get(made["id"]))
        )
        lost = (await client.post("/v1/links", json={"supernet": SUPERNET}, headers=bob)).json()
        await phone.open(lost["code"])
        service.keys.revoke(owners["bob"][1].id)
        assert (await phone.get("/plan")).status_code == 410, "the key behind it was revoked"


async def test_the_devices_page_and_its_runtime(client, web_home):
    for path in ("/assets/onnxruntime-web/ort.wasm.bundle.min.mjs", "/assets/measure/x.js"):
        headers = (await client.get(path)).headers
        if path.endswith("mjs"):
            assert headers["Content-Type"].startswith("text/javascript")
            assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert "'wasm-unsafe-eval'" in headers["Content-Security-Policy"]
    for strange in ("package.json", "..%2f..%2fsubnet-search.sqlite", "x.wasm"):
        assert (await client.get(f"/assets/onnxruntime-web/{strange}")).status_code == 404
    assert links_module.PATH == "/measure"


@pytest.mark.slow
async def test_tampered_results_are_refused_or_stored(tmp_path):
    """A little of what tests/stress/fuzz_links.py does at length."""
    ended = await fuzz_links.run(40, 1, tmp_path / "home")
    assert all(kind.startswith(("201", "422", "400")) for kind in ended), ended
    assert len(ended) >= 2
