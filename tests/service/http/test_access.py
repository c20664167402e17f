"""Who may do what: keys, scopes, rates, and the trace that changes leave."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from models.errors import Conflict, InputError, NotFound
from service.cli.operation import access_in_words, guarded
from service.contracts.access import LOCAL, SCOPES, is_loopback
from service.contracts.errors import InvalidKey
from service.http.app import create_app
from service.http.scopes import RouteScopes
from service.storage.access.api_keys import KeyStore
from service.storage.access.audit import AuditLog
from service.storage.database import migrate, open_database
from tests.service.conftest import DEVICE, SUPERNET, client_on, make_profile
from tests.service.rules import RULES
from tests.service.serving import serving

REQUEST = {"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 0.8}}
START = datetime(2030, 1, 1, tzinfo=UTC)


class Clock:
    """A clock that is set."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def pass_s(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keys(settings, clock):
    engine = open_database(settings.database)
    migrate(engine)
    yield KeyStore(engine, rate_per_s=2.0, burst=5, now=clock)
    engine.dispose()


# -- keys ----------------------------------------------------------------------------------


def test_a_key_opens_until_it_expires_or_is_revoked(keys, clock, settings):
    secret, key = keys.create("ann", "search", expires_days=1)
    caller = keys.admit(secret)
    assert (caller.owner, caller.scope, caller.key_id) == ("ann", "search", key.id)
    for wrong in ("", secret[:-1], secret + "x", key.id, "subnet_"):
        with pytest.raises(InvalidKey, match="unknown"):
            keys.admit(wrong)
    clock.pass_s(86400)
    with pytest.raises(InvalidKey, match="expired at 2030-01-02"):
        keys.admit(secret)
    other, _ = keys.create("bob", "read")
    assert keys.revoke(keys.keys()[1].id).revoked_at == clock.now
    clock.pass_s(5)
    assert keys.revoke(keys.keys()[1].id).revoked_at == START + timedelta(days=1), "once"
    with pytest.raises(InvalidKey, match="was revoked"):
        keys.admit(other)


def test_secrets_are_kept_nowhere(keys, settings):
    secrets = [keys.create("ann", scope)[0] for scope in SCOPES]
    assert len(set(secrets)) == 3
    assert all(len(secret) >= 50 for secret in secrets), "43 characters are 256 bits"
    database = settings.home / "subnet-search.sqlite"
    content = b"".join(path.read_bytes() for path in database.parent.glob(database.name + "*"))
    assert keys.keys()[0].id.encode() in content
    assert not any(secret.encode() in content for secret in secrets)


@pytest.mark.parametrize(
    ("owner", "scope", "days", "words"),
    [
        ("", "read", None, "owner: expected"),
        ("a b", "read", None, "owner: expected"),
        ("x" * 65, "read", None, "owner: expected"),
        ("ann", "write", None, "scope: expected one of"),
        ("ann", "read", 0, "expected up to 3660 days"),
        ("ann", "read", float("nan"), "expected up to 3660 days"),
        ("ann", "read", 1e9, "expected up to 3660 days"),
    ],
)
def test_keys_that_are_none(keys, owner, scope, days, words):
    with pytest.raises(InputError, match=words):
        keys.create(owner, scope, days)
    assert keys.keys() == []


def test_revoking_needs_one_key(keys, monkeypatch):
    keys.create("ann", "read")
    for unknown in ("", "x", "%"):
        with pytest.raises(NotFound):
            keys.revoke(unknown)
    monkeypatch.setattr(
        "service.storage.access.api_keys.sha256_of_secret", lambda s: "ab" + s[7:13]
    )
    keys.create("ann", "read")
    keys.create("ann", "read")
    with pytest.raises(Conflict, match="several keys begin"):
        keys.revoke("ab")


# -- the rule of every route -----------------------------------------------------------------


def routes(app):
    """(method, path template) of everything that the application answers."""
    for context in iter_route_contexts(app.routes):
        if isinstance(getattr(context, "original_route", context), Mount):
            yield "GET", f"{context.path}/anything"
        else:
            yield from ((method, context.path) for method in context.methods or ())


def test_every_route_requires_what_is_written_down():
    app = create_app()
    found = {("GET" if m == "HEAD" else m, path) for m, path in routes(app)}
    scopes = RouteScopes(app)
    files = {key for key in found if key[1].startswith(("/assets/", "/docs/guide/"))}
    assert files
    assert {scopes.rule_of(*key) for key in files} == {"public"}
    known = {key: rule for key, rule in RULES.items() if ":path" not in key[1]}
    assert {key: scopes.rule_of(*key) for key in found - files} == known


def test_what_declares_no_scope_is_for_admins():
    app = create_app()
    app.add_api_route("/v1/new", lambda: None)
    scopes = RouteScopes(app)
    for method, path in (("GET", "/v1/new"), ("PUT", "/v1/searches"), ("GET", "/healthz/x")):
        assert scopes.rule_of(method, path) == "admin"
    assert scopes.rule_of("HEAD", "/v1/searches/x/model.onnx") == "read"


def path_of(template, search_id="0" * 32):
    names = {"search_id": search_id, "device": DEVICE, "name": SUPERNET, "path:path": "app.js"}
    names["number"] = "0"
    names["id"] = "a-network-that-nobody-has"
    if "/devices/{name}" in template:
        names["name"] = "a-device-that-nobody-has"
    return re.sub(r"{(.*?)}", lambda match: names[match[1]], template)


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("held", [None, "wrong", *SCOPES])
async def test_scopes(settings, held):
    """Each route with each scope: who may gets past the guard, who may not does not."""
    async with client_on(settings.model_copy(update={"access": "required"})) as client:
        keys = client._transport.app.state.service.keys  # type: ignore[attr-defined]
        secret = {None: None, "wrong": "subnet_wrong"}.get(held) or (
            keys.create("ann", held)[0] if held in SCOPES else None
        )
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        for (method, template), rule in RULES.items():
            body: dict[str, object] | None = {} if method == "POST" else None
            answer = await client.request(method, path_of(template), headers=headers, json=body)
            wide = held in SCOPES and SCOPES.index(held) >= SCOPES.index(
                rule if rule != "public" else "read"
            )
            if rule == "public" or wide:
                assert answer.status_code not in (401, 403), (method, template)
                continue
            expected = 403 if held in SCOPES else 401
            assert answer.status_code == answer.json()["status"] == expected, (method, template)
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.anyio
async def test_nobody_is_asked_for_a_body_before_a_key(settings):
    async with client_on(settings.model_copy(update={"access": "required"})) as client:

        async def endless():
            while True:
                yield b" " * 1000
                raise AssertionError("the body was read")

        answer = await client.post("/v1/devices", content=endless())
    assert answer.status_code == 401


@pytest.mark.anyio
async def test_a_rate_that_is_used_up(settings):
    changes = {"access": "required", "rate_per_s": 0.5, "rate_burst": 3}
    async with client_on(settings.model_copy(update=changes)) as client:
        keys = client._transport.app.state.service.keys  # type: ignore[attr-defined]
        ann, bob = (
            {"Authorization": f"Bearer {keys.create(owner, 'read')[0]}"} for owner in ("ann", "bob")
        )
        answers = [await client.get("/v1/supernets", headers=ann) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert answers[-1].headers["Retry-After"] in ("1", "2")
        assert "ask again in" in answers[-1].json()["detail"]
        assert (await client.get("/v1/supernets", headers=bob)).status_code == 200
        assert (await client.get("/healthz", headers=ann)).status_code == 200


# -- where keys are asked for ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_serving_elsewhere_needs_keys(settings, host, loopback):
    assert is_loopback(host) == loopback
    assert guarded(settings, host).access == ("auto" if loopback else "required")
    behind = settings.model_copy(update={"trusted_proxies": "127.0.0.1"})
    assert guarded(behind, host).access == "required"
    off = settings.model_copy(update={"access": "off", "trusted_proxies": "127.0.0.1"})
    assert guarded(off, host).access == "off"


def test_the_address_to_listen_on_is_a_name_of_the_service(settings):
    named = settings.model_copy(update={"allowed_hosts": "subnet.example.com"})
    for host, names in (
        ("box.lan", {("box.lan", None)}),
        ("fd00::7", {("fd00::7", None)}),
        ("0.0.0.0", set()),
        ("::", set()),
    ):
        assert guarded(settings, host).named_hosts == names
        assert guarded(named, host).named_hosts == names | {("subnet.example.com", None)}


def test_a_start_says_whom_it_serves_and_how_to_get_a_key(keys):
    def said(access, host="127.0.0.1"):
        return access_in_words(access, host, keys.keys())

    assert said("auto").startswith("access is open: no API key exists")
    assert "keys create OWNER --scope admin" in said("auto")
    assert "there is none yet" in said("required")
    assert said("off") == "access is off: whoever reaches 127.0.0.1 may do everything"
    assert said("off", "0.0.0.0").startswith("warning: access is off: whoever reaches 0.0.0.0")
    made = keys.create("ann", "read")[1]
    for access in ("auto", "required"):
        assert said(access).startswith("every request needs an API key; `subnet-search keys")
    assert "also without the 1 API keys that exist" in said("off")
    keys.revoke(made.id)
    for access in ("auto", "required"):
        assert "none yet that is valid" in said(access)


@pytest.mark.anyio
async def test_until_a_key_exists_this_machine_needs_none(settings):
    """Whoever comes from elsewhere, or looks like it, does; and everybody once there is one."""
    app = create_app(settings)

    async def status(path="/v1/supernets", client=("127.0.0.1", 1), http="1.1", **headers):
        async def as_it_came(scope, receive, send):
            await app({**scope, "http_version": http, "client": client}, receive, send)

        transport = httpx.ASGITransport(app=as_it_came)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as asking:
            return (await asking.get(path, headers=headers)).status_code

    async with app.router.lifespan_context(app):
        assert await status() == await status(client=("::1", 1)) == 200
        assert await status(client=("10.0.0.1", 1)) == 401
        assert await status(client=None) == 401, "a socket of the file system"
        assert await status(http="1.0") == 401, "what nginx makes of a request by default"
        assert await status(Via="1.1 squid") == 401
        assert await status("/healthz", client=("10.0.0.1", 1), http="1.0") == 200
        assert await status(Authorization="Bearer subnet_wrong") == 401
        keys = app.state.service.keys
        secret, key = keys.create("ann", "read")
        keys.revoke(key.id)
        assert keys.exist()
        assert await status() == 401, "also once the only key is revoked"
        secret, _ = keys.create("ann", "read")
        assert await status(Authorization=f"Bearer {secret}") == 200
        assert await status(http="1.0", Via="1.1 x", Authorization=f"Bearer {secret}") == 200


@pytest.mark.anyio
async def test_switched_off_is_off_also_where_keys_exist(settings):
    async with client_on(settings.model_copy(update={"access": "off"})) as client:
        client._transport.app.state.service.keys.create("ann", "read")  # type: ignore[attr-defined]
        assert (await client.get("/v1/searches")).status_code == 200


# -- the trace ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.anyio
async def test_changes_are_recorded_with_who_what_when_and_the_request(settings):
    async with client_on(settings.model_copy(update={"access": "required"})) as client:
        service = client._transport.app.state.service  # type: ignore[attr-defined]
        secret, key = service.keys.create("ann", "search")
        reader = {"Authorization": f"Bearer {service.keys.create('eve', 'read')[0]}"}
        headers = {"Authorization": f"Bearer {secret}"}
        await client.get("/v1/searches", headers=headers)
        made = await client.post("/v1/searches", json=REQUEST, headers=headers)
        await client.delete(made.headers["Location"], headers=headers)
        await client.post("/v1/devices", json={"name": 7}, headers=headers)
        await client.post("/v1/devices", json=make_profile(), headers=reader)
        await client.post("/v1/devices", json=make_profile())
        refused, bad, cancelled, asked = service.audit.entries()
    assert (asked.owner, asked.key_id) == ("ann", key.id)
    assert (asked.action, asked.target) == ("POST /v1/searches", made.headers["Location"])
    assert (asked.status, asked.request_id) == (202, made.headers["X-Request-ID"])
    assert abs(asked.at - datetime.now(UTC)) < timedelta(minutes=5)
    assert cancelled.action == f"DELETE {made.headers['Location']}"
    assert (bad.status, bad.target) == (422, None)
    assert (refused.owner, refused.status) == ("eve", 403)


def test_an_act_is_recorded_before_it_is_done(store):
    audit = AuditLog(store._engine)
    number = audit.begin(LOCAL, "POST /v1/devices", "abc")
    (entry,) = audit.entries()
    assert (entry.id, entry.status, entry.owner) == (number, None, None)
    audit.end(number, 201, "/v1/devices/x")
    (entry,) = audit.entries()
    assert (entry.status, entry.target, entry.request_id) == (201, "/v1/devices/x", "abc")
    assert audit.entries(owner="ann") == []


# -- the command line ----------------------------------------------------------------------------


@pytest.mark.slow
def test_keys_by_command(run, run_json, settings):
    made = run_json("keys", "create", "ann", "--scope", "read", "--expires-days", 3)
    (listed,) = run_json("keys", "list")
    assert listed == {name: value for name, value in made.items() if name != "key"}
    shown = run("keys", "create", "bob")
    assert shown.stdout.startswith("subnet_")
    assert "not shown again" in shown.stderr
    assert made["key"] not in run("keys", "list").stdout
    run("keys", "revoke", made["id"])
    assert run_json("keys", "list")[0]["revoked_at"] is not None
    assert "unknown key" in run("keys", "revoke", "nothing", code=2).stderr
    assert "scope" in run("keys", "create", "ann", "--scope", "all", code=2).stderr
    entries = run_json("audit")
    assert [entry["action"] for entry in entries] == ["keys revoke", "keys create", "keys create"]
    assert entries[0]["target"] == f"key {made['id']} of ann, scope read"
    assert len(run("audit", "--limit", 2).stdout.splitlines()) == 3


@pytest.mark.slow
def test_a_key_through_the_client_and_no_secret_in_any_log(run, settings, capfd, monkeypatch):
    from service.client.client import Client
    from service.client.errors import Unauthorized

    required = settings.model_copy(update={"access": "required", "log_format": "json"})
    with serving(required) as url:
        secret = run("keys", "create", "ann", "--scope", "search").stdout.strip()
        with Client(url, secret) as client:
            client.search(SUPERNET, DEVICE, latency_ms=0.8, wait=False)
            client.add_device(make_profile("logged"))
        for wrong in (None, secret[:-1], "not a key"):
            with Client(url, wrong) as client, pytest.raises(Unauthorized):
                client.devices()
        monkeypatch.setenv("SUBNET_API_KEY", secret)
        assert DEVICE in run("devices", "list", "--server", url).stdout
        monkeypatch.setenv("SUBNET_API_KEY", "no")
        assert "unknown API key" in run("devices", "list", "--server", url, code=2).stderr
    out, err = capfd.readouterr()
    lines = [line for line in (out + err).splitlines() if line.startswith("{")]
    assert {json.loads(line)["status"] for line in lines if '"answered"' in line} >= {202, 401}
    assert secret[7:-1] not in out + err
    assert "not a key" not in out + err
    for word in (repr(required.model_copy(update={"api_key": None})),):
        assert secret not in word
