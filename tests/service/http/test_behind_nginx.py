"""The service behind a real reverse proxy on the same machine."""

from __future__ import annotations

from contextlib import contextmanager

import httpx
import pytest

from service.http.app import create_app
from service.storage.access.api_keys import KeyStore
from service.storage.database import migrate, open_database
from tests.nginx import OTHER_USER, USUAL, find_nginx, nginx
from tests.processes import PATIENCE_S
from tests.service.conftest import DEVICE, SUPERNET
from tests.service.http.test_caching import MODEL, stored_model
from tests.service.serving import serving

pytestmark = pytest.mark.skipif(
    find_nginx() is None, reason="nginx is not installed (on Debian: apt-get install nginx-light)"
)
CACHING = USUAL + "proxy_cache answers; proxy_cache_valid any 1h; proxy_ignore_headers Vary;"
HIDDEN = 'proxy_http_version 1.1; proxy_set_header Connection "";'
"""What a plain proxy of a later nginx does: it cannot be told from a client by what it sends."""
REQUEST = {"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 0.8}}


@contextmanager
def behind(settings, directives, **changes):
    """The service itself, the URL of the proxy, and of the service without it."""
    app = create_app(settings.model_copy(update=changes))
    with serving(app) as direct, nginx(direct, directives) as proxied:
        yield app.state.service, proxied, direct


@pytest.fixture
def web():
    """Somebody with the patience that a busy machine needs."""
    with httpx.Client(timeout=PATIENCE_S) as client:
        yield client


@pytest.fixture
def secrets(settings):
    """Keys of three owners, made before anything is served."""
    engine = open_database(settings.database)
    migrate(engine)
    keys = KeyStore(engine, rate_per_s=20, burst=200)
    made = {o: keys.create(o, s)[0] for o, s in (("ann", "search"), ("bob", "read"))}
    engine.dispose()
    return {owner: {"Authorization": f"Bearer {secret}"} for owner, secret in made.items()}


@pytest.mark.slow
@pytest.mark.parametrize("directives", [USUAL, ""], ids=["usual", "plain"])
def test_an_unnamed_proxy_opens_nothing(web, settings, directives):
    """Also where this machine's own users need no key."""
    with behind(settings, directives) as (service, proxied, direct):
        assert web.get(f"{direct}/v1/searches").status_code == 200
        for answer in (
            web.get(f"{proxied}/v1/searches"),
            web.get(f"{proxied}/v1/searches", headers={"X-Forwarded-For": "127.0.0.1"}),
            web.post(f"{proxied}/v1/searches", json=REQUEST),
        ):
            assert answer.status_code in (401, 403)
        if directives == USUAL:
            assert answer.status_code == 403
            assert "SUBNET_TRUSTED_PROXIES=127.0.0.1" in answer.json()["detail"]
        assert web.get(f"{proxied}/readyz").status_code == 200
        assert service.store.counts() == {}
        assert service.audit.entries() == []


@pytest.mark.slow
@pytest.mark.skipif(not OTHER_USER, reason="only root starts nginx's workers as another user")
def test_an_unnamed_proxy_that_hides_itself_is_told_by_its_user(web, settings):
    with behind(settings, HIDDEN) as (service, proxied, direct):
        for host in ("localhost", "127.0.0.1"):
            headers = {"Host": host}
            assert web.get(f"{direct}/v1/searches", headers=headers).status_code == 200
            assert web.get(f"{proxied}/v1/searches", headers=headers).status_code == 401
            refused = web.post(f"{proxied}/v1/searches", json=REQUEST, headers=headers)
            assert refused.status_code == 401
            assert "only the user that runs this service" in refused.json()["detail"]
        assert service.store.counts() == {}


@pytest.mark.slow
@pytest.mark.parametrize("directives", [USUAL, "", HIDDEN], ids=["usual", "plain", "hidden"])
def test_with_keys_everybody_behind_a_proxy_needs_one(web, settings, secrets, directives):
    named = {"trusted_proxies": "127.0.0.1"} if directives == USUAL else {}
    with behind(settings, directives, **named) as (service, proxied, _):
        at = stored_model(service, "ann")
        for path in ("/v1/searches", at, f"{at}/model.onnx", "/metrics"):
            assert web.get(proxied + path).status_code == 401
        assert web.post(f"{proxied}/v1/searches", json=REQUEST).status_code == 401
        made = web.post(f"{proxied}/v1/searches", json=REQUEST, headers=secrets["ann"])
        assert made.status_code == 202
        model = web.get(f"{proxied}{at}/model.onnx", headers=secrets["ann"])
        assert model.content == MODEL
        assert web.get(proxied + at, headers=secrets["bob"]).status_code == 404


@pytest.mark.slow
def test_a_proxy_that_caches_gives_ones_model_to_nobody_else(web, settings, secrets):
    with behind(settings, CACHING, trusted_proxies="127.0.0.1") as (service, proxied, _):
        at = f"{proxied}{stored_model(service, 'ann')}"
        for path in (f"{at}/model.onnx", f"{at}/events", f"{proxied}/v1/devices"):
            for headers, status in ((secrets["ann"], 200), ({}, 401), (secrets["ann"], 200)):
                assert web.get(path, headers=headers).status_code == status
        assert web.get(f"{at}/model.onnx", headers=secrets["bob"]).status_code == 404


@pytest.mark.slow
def test_behind_a_named_proxy_the_page_works_by_its_public_name(web, settings, secrets):
    changes = {"trusted_proxies": "127.0.0.0/8", "allowed_hosts": "subnet.example.com"}
    with behind(settings, USUAL, **changes) as (_, proxied, _):

        def post(host, origin):
            headers = {**secrets["ann"], "Host": host, "Origin": origin}
            return web.post(f"{proxied}/v1/searches", json=REQUEST, headers=headers)

        public = "subnet.example.com"
        assert web.get(proxied, headers={"Host": public}).status_code == 200
        assert post(public, f"https://{public}").status_code == 202
        assert post(public, "https://evil.example").status_code == 403
        assert post("evil.example", "https://evil.example").status_code == 421
