"""The authorization table: every route, every scope, one's own and what belongs to others."""

from __future__ import annotations

import re
import shutil

import httpx
import pytest

from models.published.networks import published_networks
from service.contracts.access import SCOPES
from service.settings import Settings
from tests.service.conftest import DEVICE, SUPERNET, make_profile
from tests.service.rules import RULES
from tests.service.serving import serving
from tests.trainings import TRAINING, write_training

CALLERS = {
    "nobody": None,
    "ann reads": ("ann", "read"),
    "ann": ("ann", "search"),
    "bob reads": ("bob", "read"),
    "bob": ("bob", "search"),
    "root": ("root", "admin"),
}
CHANGES = {
    ("DELETE", "/v1/searches/{search_id}"),
    ("POST", "/v1/devices/{name}/measurements"),
    ("DELETE", "/v1/devices/{name}"),
}
"""Routes that change what is named in their path."""
ROUTES = [key for key in RULES if ":path" not in key[1] and "/link-sessions/" not in key[1]]
"""Those that a key opens; a link's session has a secret of its own."""
NAMES_ONE = re.compile("{(search_id|device)}|/devices/{name}")
"""A route of one search or device, which belongs to somebody."""
UNKNOWN = {"device": "zzz", "search": "0" * 32}


class World:
    """A service with keys, and what ann has made: one of each kind for herself, one for all."""

    def __init__(self, client, secrets):
        self.client = client
        self.headers = {
            name: {} if secret is None else {"Authorization": f"Bearer {secret}"}
            for name, secret in secrets.items()
        }
        self.things = {}
        for index, kind in enumerate(("private", "shared")):
            shared = kind == "shared"
            device = self.add_device(kind)
            search = self.search("ann", seed=index, shared=shared)
            # Ended, so that its events do.
            assert self.ask("ann", "DELETE", f"/v1/searches/{search['id']}").status_code == 200
            self.things[kind] = {"device": device, "search": search["id"]}
        self.things["unknown"] = UNKNOWN

    def ask(self, who, method, path, **options):
        headers = {**self.headers[who], **options.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **options)

    def add_device(self, kind):
        profile = make_profile(f"ann-{kind}", shared=kind == "shared")
        made = self.ask("ann", "POST", "/v1/devices", json=profile)
        assert made.status_code == 201, made.text
        return profile["name"]

    def search(self, who, latency_ms=0.8, **changes):
        constraints = {"latency_ms": latency_ms}
        body = {"supernet": SUPERNET, "device": DEVICE, "constraints": constraints, **changes}
        answer = self.ask(who, "POST", "/v1/searches", json=body)
        assert answer.status_code in (201, 202), answer.text
        return answer.json()

    def path(self, template, kind, who=""):
        names = {"search_id": self.things[kind]["search"], "device": self.things[kind]["device"]}
        if (who, kind) == ("root", "private"):
            names["device"] += "@ann"  # a name alone is nobody else's
        names["id"] = next(iter(published_networks()))
        names["name"] = (
            names["device"]
            if "/devices/{name}" in template
            else TRAINING
            if "/trainings/" in template
            else SUPERNET
        )
        return re.sub(r"{(\w+)}", lambda match: names[match[1]], template)


@pytest.fixture(scope="module")
def world(template, tmp_path_factory):
    home = shutil.copytree(template, tmp_path_factory.mktemp("owned") / "home")
    write_training(home)
    settings = Settings(
        home=home, workers=0, poll_interval_s=0.01, access="required", rate_burst=10**6
    )
    from service.storage.access.api_keys import open_keys
    from service.storage.database import migrate, open_database

    engine = open_database(settings.database)
    migrate(engine)
    keys = open_keys(engine, settings)
    secrets = {name: who and keys.create(*who)[0] for name, who in CALLERS.items()}
    engine.dispose()
    with serving(settings) as url, httpx.Client(base_url=url) as client:
        yield World(client, secrets)


def expected(method, template, who, kind):
    """What the answer's status has to be; None: anything but a refusal."""
    rule = RULES[method, template]
    if rule == "public":
        return None
    if (key := CALLERS[who]) is None:
        return 401
    owner, scope = key
    if SCOPES.index(scope) < SCOPES.index(rule):
        return 403
    if template.startswith("/v1/links/"):
        return 404  # no link is there; whose links are seen: tests/service/links
    if not NAMES_ONE.search(template):
        return None
    mine = owner == "ann" or scope == "admin"
    if kind == "unknown" or not (mine or kind == "shared"):
        return 404
    return 403 if (method, template) in CHANGES and not mine else None


@pytest.mark.slow
@pytest.mark.parametrize(("method", "route"), ROUTES)
@pytest.mark.parametrize("who", CALLERS)
def test_every_route_every_scope_own_or_not(world, method, route, who):
    for kind in ("private", "shared", "unknown") if NAMES_ONE.search(route) else ("private",):
        body: dict[str, object] | None = {} if method == "POST" else None
        # The supernet is for all tests: who may remove it is refused for the parameter.
        options = {"params": {"training": "x"}} if route == "/v1/supernets/{name}" else {}
        answer = world.ask(who, method, world.path(route, kind, who), json=body, **options)
        if (method, route) == ("DELETE", "/v1/devices/{name}") and answer.is_success:
            world.add_device(kind)
        wanted = expected(method, route, who, kind)
        assert answer.status_code < 500
        if wanted is None:
            assert answer.status_code not in (401, 403, 404), (kind, answer.text)
        else:
            assert answer.status_code == wanted, (kind, answer.text)


def without_names(answer, *names):
    text = answer.text
    for name in (*names, answer.headers["X-Request-ID"]):
        text = text.replace(name, "...")
    return answer.status_code, text


@pytest.mark.slow
def test_what_is_private_looks_like_what_is_not_there(world):
    private, unknown = world.things["private"], UNKNOWN
    for what, template in (("search", "/v1/searches/{}"), ("device", "/v1/devices/{}")):
        answers = [
            without_names(world.ask("bob", "GET", template.format(t[what])), t[what])
            for t in (private, unknown)
        ]
        assert answers[0] == answers[1]


@pytest.mark.slow
def test_lists_show_ones_own_and_what_is_shared(world):
    def names(who, path, field):
        return {item[field] for item in world.ask(who, "GET", path).json()["items"]}

    private, shared = world.things["private"], world.things["shared"]
    for who, sees in (("ann", True), ("ann reads", True), ("bob", False), ("root", True)):
        devices = names(who, "/v1/devices", "name")
        assert {DEVICE, shared["device"]} <= devices
        name = private["device"] + ("@ann" if who == "root" else "")
        assert (name in devices) == sees
        searches = names(who, "/v1/searches?limit=200", "id")
        assert shared["search"] in searches
        assert (private["search"] in searches) == sees


@pytest.mark.slow
def test_the_same_question_is_another_search_for_another_owner(world):
    ann, bob = world.search("ann", seed=7), world.search("bob", seed=7)
    assert ann["id"] != bob["id"]
    assert bob["status"] == "queued"
    assert world.search("ann", seed=7)["id"] == ann["id"]
    both = [world.search(who, seed=7, shared=True)["id"] for who in ("ann", "bob")]
    assert both[0] == both[1] not in (ann["id"], bob["id"])
    assert world.ask("bob", "DELETE", f"/v1/searches/{both[0]}").status_code == 403


@pytest.mark.slow
def test_idempotency_keys_are_ones_own(world):
    def post(who, seed):
        constraints = {"latency_ms": 0.9}
        body = {"supernet": SUPERNET, "device": DEVICE, "constraints": constraints, "seed": seed}
        headers = {"Idempotency-Key": "the-same"}
        return world.ask(who, "POST", "/v1/searches", json=body, headers=headers)

    ann, bob = post("ann", 1), post("bob", 2)
    assert (ann.status_code, bob.status_code) == (202, 202), "bob learns of no key of ann's"
    assert ann.json()["id"] != bob.json()["id"]
    assert post("ann", 1).json()["id"] == ann.json()["id"]
    assert post("ann", 3).status_code == 422


@pytest.mark.slow
def test_names_of_private_devices_are_ones_own(world):
    for who, overhead in (("ann", 0.25), ("bob", 0.5)):
        profile = make_profile("phone", network_overhead_ms=overhead)
        assert world.ask(who, "POST", "/v1/devices", json=profile).status_code == 201
        assert world.ask(who, "POST", "/v1/devices", json=profile).status_code == 409
    for who, overhead in (("ann", 0.25), ("bob", 0.5), ("bob reads", 0.5)):
        (table,) = world.ask(who, "GET", "/v1/devices/phone").json()["tables"]
        assert (table["network_overhead_ms"], table["shared"]) == (overhead, False)
    ann, bob = (world.search(who, 5.0, device="phone")["request"] for who in ("ann", "bob"))
    assert ann["device_sha256"] != bob["device_sha256"]
    # A shared one of that name is for everybody who has none of their own.
    profile = make_profile("phone", network_overhead_ms=0.75, shared=True)
    assert world.ask("root", "POST", "/v1/devices", json=profile).status_code == 201
    again = world.ask("bob", "POST", "/v1/devices", json=profile)
    assert again.status_code == 409, "the name is taken among the shared ones"
    (table,) = world.ask("bob", "GET", "/v1/devices/phone").json()["tables"]
    assert table["network_overhead_ms"] == 0.5
    (table,) = world.ask("root", "GET", "/v1/devices/phone").json()["tables"]
    assert table["network_overhead_ms"] == 0.75
    # By name and owner an admin has each of them.
    for owner, overhead in (("ann", 0.25), ("bob", 0.5)):
        (table,) = world.ask("root", "GET", f"/v1/devices/phone@{owner}").json()["tables"]
        assert table["network_overhead_ms"] == overhead
        assert world.search("root", 5.0, device=f"phone@{owner}")["current"] is True
    assert world.ask("bob", "GET", "/v1/devices/phone@ann").status_code == 404
    # Whoever removes it removes their own; then the shared one is theirs to use, not to remove.
    removed = world.ask("bob", "DELETE", "/v1/devices/phone").json()
    taken = world.ask("bob", "POST", "/v1/devices?replace=true", json=profile)
    assert taken.status_code == 403, "it is root's"
    assert [table["shared"] for table in removed["remaining"]] == [True]
    assert world.ask("bob", "DELETE", "/v1/devices/phone").status_code == 403
    assert world.ask("root", "DELETE", "/v1/devices/phone").status_code == 200
    assert world.ask("bob", "GET", "/v1/devices/phone").status_code == 404
    assert world.ask("ann", "GET", "/v1/devices/phone/table").json()["network_overhead_ms"] == 0.25
    refused = world.ask("root", "DELETE", "/v1/devices/phone")
    assert refused.status_code == 404
    assert "phone@ann" in refused.json()["detail"]
    (removed,) = world.ask("root", "DELETE", "/v1/devices/phone@ann").json()["removed"]
    assert removed["owner"] == "ann"


@pytest.mark.slow
def test_a_shared_search_does_not_share_its_devices_table(world):
    def statuses(search):
        path = f"/v1/searches/{search['id']}/table"
        return [world.ask(who, "GET", path).status_code for who in ("ann reads", "root", "bob")]

    profile = make_profile("kept-to-herself", network_overhead_ms=0.125)
    assert world.ask("ann", "POST", "/v1/devices", json=profile).status_code == 201
    devices = {"kept-to-herself": 403, world.things["shared"]["device"]: 200}
    for device, of_bob in devices.items():
        shared = world.search("ann", 4.0, device=device, shared=True)
        assert statuses(shared) == [200, 200, of_bob]
    inline = make_profile("sent-along", network_overhead_ms=0.375)
    search = world.search("ann", 4.0, device=inline, shared=True)
    assert statuses(search) == [200, 200, 403]
    # The answer stays, and the table is seen once the device is for all, in any of its revisions.
    assert world.ask("bob", "GET", f"/v1/searches/{search['id']}").status_code == 200
    for overhead in (0.375, 0.5):
        for_all = {**inline, "network_overhead_ms": overhead, "shared": True}
        added = world.ask("ann", "POST", "/v1/devices?replace=true", json=for_all)
        assert added.is_success, added.text
        assert statuses(search) == [200, 200, 200]


def test_nobody_searches_on_somebody_elses_private_device(world):
    body = {
        "supernet": SUPERNET,
        "device": world.things["private"]["device"],
        "constraints": {"latency_ms": 5.0},
    }
    answers = [world.ask(who, "POST", "/v1/searches", json=body) for who in ("bob", "ann")]
    assert [answer.status_code for answer in answers] == [404, 202]
