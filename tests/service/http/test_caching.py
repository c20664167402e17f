"""What caches may keep: nothing that is somebody's own, whoever reads it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from service.delivery.signing import generate
from service.storage.access.owners import claim
from service.storage.runs import RunStore
from tests.service.conftest import DEVICE, SUPERNET, client_on, keep, make_table
from tests.service.rules import RULES
from tests.service.stored import RESULT, new

MODEL = b"a model of the owner's own"
GETS = [path for (method, path), _ in RULES.items() if method == "GET" and ":path" not in path]


def directives(answer):
    return {part.strip() for part in answer.headers["Cache-Control"].split(",")}


def check(answer, rule):
    """Nothing but what is public is for caches that several people use."""
    said = directives(answer)
    assert not said & {"public", "immutable"}
    assert not any(part.startswith(("max-age", "s-maxage")) for part in said)
    if answer.is_error:
        assert "no-store" in said
        return
    assert said & {"no-store", "no-cache"}
    if rule == "public":
        return
    assert "private" in said
    vary = [part.strip().lower() for part in answer.headers["Vary"].split(",")]
    assert "authorization" in vary


def stored_model(service, owner):
    """A finished search of an owner, with a model."""
    sha256 = hashlib.sha256(MODEL).hexdigest()
    assert service.artifacts.put(MODEL) == sha256
    asked = new(device=DEVICE, supernet=SUPERNET)
    request = {**asked.request, "precision": "fp32"}
    search = service.store.submit(
        replace(asked, request=request),
        also=lambda session, search, _: claim(session, search.id, owner, False),
    )
    runs = RunStore(service.engine)
    assert runs.start(search.id, search.run, "w") is not None
    assert runs.succeed(search, "w", {**RESULT, "sha256": sha256})
    return f"/v1/searches/{search.id}"


@pytest.mark.slow
@pytest.mark.anyio
async def test_every_route_says_who_may_keep_its_answers(settings):
    changes = {"access": "required", "rate_burst": 10**6}
    async with client_on(settings.model_copy(update=changes)) as client:
        service = client._transport.app.state.service  # type: ignore[attr-defined]
        key = {"Authorization": f"Bearer {service.keys.create('ann', 'admin')[0]}"}
        seen = set()
        for path in GETS:
            rule, search = RULES["GET", path], "0" * 32
            at = path.replace("{search_id}", search).replace("{device}", DEVICE)
            name = DEVICE if "/devices/{name}" in at else SUPERNET
            for given in (key, {}, {"Authorization": "Bearer no"}):
                answer = await client.get(at.replace("{name}", name), headers=given)
                check(answer, rule)
                seen |= {(path, answer.status_code)} if answer.status_code == 200 else set()
        assert len(seen) >= 11, "most were really answered"
        for path in ("/v1/nothing", "/nothing"):
            check(await client.get(path, headers=key), "admin")


@pytest.mark.anyio
async def test_models_and_signatures_are_kept_by_no_cache_of_several_people(settings, tmp_path):
    generate(tmp_path / "key.pem")
    changes = {"access": "required", "signing_key": tmp_path / "key.pem"}
    async with client_on(settings.model_copy(update=changes)) as client:
        service = client._transport.app.state.service  # type: ignore[attr-defined]
        secret = service.keys.create("ann", "read")[0]
        key = {"Authorization": f"Bearer {secret}"}
        at = stored_model(service, "ann")
        for path, size in ((f"{at}/model.onnx", len(MODEL)), (f"{at}/model.onnx.sig", 64)):
            whole = await client.get(path, headers=key)
            assert (whole.status_code, len(whole.content)) == (200, size)
            part = await client.get(path, headers={**key, "Range": "bytes=0-3"})
            tag = {"If-None-Match": whole.headers["ETag"]}
            unchanged = await client.get(path, headers={**key, **tag})
            assert (await client.get(path, headers=tag)).status_code == 401, "tags open nothing"
            assert unchanged.status_code == 304
            for answer in (whole, part, unchanged):
                check(answer, "read")
                assert directives(answer) == {"private", "no-cache"}


@pytest.mark.slow
@pytest.mark.anyio
async def test_fronts_pictures_and_events_are_private_too(settings):
    keep(settings.home, make_table("other"))
    async with client_on(settings) as client:
        front = f"/v1/supernets/{SUPERNET}/devices/other/front"
        answer = await client.get(front)
        check(answer, "read")
        assert directives(answer) == {"private", "no-cache"}
        tag = {"If-None-Match": answer.headers["ETag"]}
        again = await client.get(front, headers=tag)
        assert again.status_code == 304
        check(again, "read")
        service = client._transport.app.state.service  # type: ignore[attr-defined]
        answer = await client.get(f"{stored_model(service, 'ann')}/events")
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        check(answer, "read")


@pytest.mark.slow
@pytest.mark.anyio
async def test_what_is_public_is_revalidated_and_probes_are_kept_by_nobody(settings):
    async with client_on(settings) as client:
        for path in ("/", "/docs", "/assets/app.js"):
            answer = await client.get(path)
            assert directives(answer) == {"no-cache"}
            assert answer.headers["ETag"]
        for path in ("/healthz", "/readyz", "/openapi.json"):
            assert directives(await client.get(path)) == {"no-store"}
