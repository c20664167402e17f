"""Links from both sides: who makes one, and the device that opens it.

A session acts for whoever made its link, with that caller's rights, and can do one thing: add the
devices that the link names, or report on the one model that it is for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from latency_tables.table import LatencyTable
from models.errors import Conflict, NotFound
from service.catalog import Catalog
from service.contracts import (
    Caller,
    Gone,
    LinkProgress,
    LinkRead,
    LinkRequest,
    LinkResultRead,
    LinkSessionCreated,
    LinkSessionRead,
    LinkSessionStatus,
    LinkTask,
)
from service.links import results, trying, user_agents
from service.links.addresses import LinkAddress
from service.links.descriptions import describe_link, qr_svg, size_warnings
from service.links.plans import Plans
from service.links.web_runtime import WebRuntime
from service.storage import (
    ArtifactStore,
    Link,
    LinkStore,
    Owners,
    SearchStore,
    link_gone,
    unknown_link,
)

if TYPE_CHECKING:
    from latency_tables.benchmark import RemotePlan
    from models.bundle import Bundle

SUFFIX = "-webgpu"
"""Of the device that the same browser is with WebGPU."""
PATH = "/measure"
TRY_BYTES, RESULT_BYTES, ROUND_BYTES = 4 * 2**20, 64 * 2**10, 8 * 2**10
"""Of a result: of a model that was tried; of a measurement, and of the times of each of its models
(200 rounds have 4 kB)."""
STOPPED = "Stopped"
"""Phase of a device that gave up, before a colon and the reason."""
_NAMES = {"wasm": "WebAssembly", "webgpu": "WebGPU"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What links are made of."""

    store: LinkStore
    catalog: Catalog
    searches: SearchStore
    owners: Owners
    artifacts: ArtifactStore
    runtime: WebRuntime


class Links:
    """The links of one service. Safe to share between threads."""

    def __init__(self, places: Places) -> None:
        self._places, self._store = places, places.store
        self.runtime = places.runtime
        self._plans = Plans()

    # -- whoever makes one ---------------------------------------------------------------

    def create(self, request: LinkRequest, caller: Caller, address: LinkAddress) -> LinkRead:
        """A new link, with the address that its device opens.

        Raises:
            NotFound, InputError: if what it names is not there, or cannot be measured or tried.
            Conflict: if the device's name is taken, the search has no model, or onnxruntime-web is
                not installed.
            NotAllowed: if a table that it would replace is somebody else's.
            TooManyRequests: if the caller has too many open ones.
        """
        self.runtime.require()
        warnings = list(address.warnings)
        if request.search is not None:
            search = self._places.searches.get(request.search)
            self._places.owners.check_seen(search.id, caller)
            asked = trying.request_of(search)
        else:
            asked = self._measuring(request, caller)
            warnings += size_warnings(self._plan_of(asked))
        link, code = self._store.add({**asked, "warnings": warnings}, caller)
        if request.search is None:
            self._plans.warm(self._plan_of(asked))
        url = f"{address.base}{PATH}#{code}"
        return describe_link(link).model_copy(
            update={"url": url, "code": code, "qr_svg": qr_svg(url)}
        )

    def _measuring(self, request: LinkRequest, caller: Caller) -> dict[str, Any]:
        assert request.supernet is not None
        bundle = self._places.catalog.supernets.get(request.supernet)
        asked = {
            "purpose": "measure",
            "supernet": bundle.name,
            **{name: getattr(request, name) for name in ("device", "mode", "precision", "threads")},
            **{"backends": list(request.backends), "replace": request.replace},
            **{"shared": request.shared, "search": None},
        }
        if request.device is not None:
            self._check_names(bundle, asked, caller)
        return asked

    def _check_names(self, bundle: Bundle, asked: Mapping[str, Any], caller: Caller) -> None:
        """Refuse names of devices that could not be stored at the end."""
        devices = self._places.catalog.seen_by(caller).devices
        key = (bundle.space.name, asked["precision"])
        known = devices.keys()
        for backend in asked["backends"]:
            name = _device(asked, backend)
            if key in known.get(name, ()):
                if not asked["replace"]:
                    raise Conflict(
                        f"device {name!r} has a table for space {key[0]!r} at {key[1]}: choose "
                        'another name, or replace it ("replace": true)'
                    )
                devices.check_changeable(name)

    def get(self, link_id: str, caller: Caller) -> LinkRead:
        """A link of the caller's.

        Raises:
            NotFound: if there is none, or it is somebody else's.
        """
        return describe_link(self._own(link_id, caller))

    def cancel(self, link_id: str, caller: Caller) -> LinkRead:
        """End a link of the caller's; its device is told at its next request.

        Raises:
            NotFound: as `get`.
            Conflict: if it has ended otherwise.
        """
        return describe_link(self._store.cancel(self._own(link_id, caller).id))

    def _own(self, link_id: str, caller: Caller) -> Link:
        link = self._store.get(link_id)
        if not caller.owns(link.owner):
            raise unknown_link(link_id)
        return link

    # -- the device ----------------------------------------------------------------------

    def claim(self, code: str, user_agent: str) -> tuple[Link, LinkSessionCreated]:
        """Open a link, once.

        Raises:
            NotFound: if there is no such link.
            Gone: if it was opened, has expired or was cancelled.
        """
        link = self._store.find_by_code(code)
        request = {**link.request, "processor": user_agents.processor_of(user_agent)}
        if request["purpose"] == "measure" and request["device"] is None:
            known = self._places.catalog.seen_by(link.caller).devices.keys()
            taken = {*known, *self._store.names_in_use(link.owner)}
            request["device"] = user_agents.name_of(user_agent, taken)
        link, secret = self._store.claim(link, request)
        return link, LinkSessionCreated(session=secret, **self.describe(link).model_dump())

    def of_session(self, secret: str) -> Link:
        """The link of a session, ended or not.

        Raises:
            NotFound: if there is no such session.
        """
        return self._store.of_session(secret)

    def check_active(self, link: Link) -> None:
        """Refuse to go on with a link that has ended.

        Raises:
            Gone: if it has, or the key of whoever made it opens nothing any more.
        """
        if link.ended:
            raise link_gone(link)
        if not self._store.is_backed(link):
            self._store.cancel(link.id)
            raise Gone("the key that this link was made with is no longer valid: ask for a new one")

    def max_result_bytes(self, link: Link) -> int:
        """Of the largest result that makes sense."""
        if link.request["purpose"] == "try":
            return TRY_BYTES
        plan = self._plan_of(link.request)
        return RESULT_BYTES + ROUND_BYTES * len(plan.timings)

    def describe(self, link: Link) -> LinkSessionRead:
        """What a device is to do, and whether it still is."""
        request = link.request
        target_s = trying.TARGET_S
        if request["purpose"] == "measure":
            target_s = self._plan_of(request).target_s
        task = LinkTask(
            **{name: request[name] for name in ("purpose", "supernet", "device", "mode")},
            **{name: request[name] for name in ("precision", "backends", "threads")},
            batch=1,
            target_s=target_s,
            search=request.get("tried"),
        )
        return LinkSessionRead(task=task, status=link.status)  # type: ignore[arg-type]

    def plan(self, link: Link) -> dict[str, Any]:
        """What a device of a link times.

        Raises:
            NotFound: if it is not to measure.
        """
        return self._plans.describe(self._plan_of(_for(link, "measure")))

    def model(self, link: Link, number: int) -> bytes:
        """A model of the plan, compressed.

        Raises:
            NotFound: if the plan has none of this number.
        """
        return self._plans.model(self._plan_of(_for(link, "measure")), number)

    def finished_model(self, link: Link) -> bytes:
        """The model that is tried.

        Raises:
            NotFound: if the link is for none.
        """
        return self._places.artifacts.get(_for(link, "try")["sha256"])

    def images(self, link: Link) -> npt.NDArray[np.float32]:
        """What the model that is tried answers on, (N, C, r, r); there may be none.

        Raises:
            NotFound: if the link is for none.
        """
        return trying.images_of(self._places.catalog, _for(link, "try"))

    def report(self, link: Link, progress: LinkProgress) -> LinkSessionStatus:
        """Keep how far a device is; a phase "Stopped: why" ends the link."""
        word, _, why = progress.phase.partition(": ")
        stopped = why if word == STOPPED and why else None
        if not link.ended:
            self._store.report(link, progress.model_dump(mode="json"), stopped)
        status = "failed" if stopped else "running" if not link.ended else link.status
        return LinkSessionStatus(status=status)  # type: ignore[arg-type]

    def finish(self, link: Link, body: Mapping[str, Any]) -> LinkResultRead:
        """Take what a device has measured, or found of the model that it tried. The same again has
        the same answer.

        Raises:
            InputError: naming the place, what was expected there and what was found.
            BadTable: if the table that follows does not hold.
            Conflict: if the backend has another result already, or the name was taken meanwhile.
            Gone: if the link has ended.
        """
        backend = results.read_backend(body.get("backend"), link.request["backends"])
        content = json.dumps(body, sort_keys=True)
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        if (stored := link.results.get(backend)) is not None:
            if stored["sha256"] != sha256:
                raise Conflict(f"result.backend: {backend} has a result already: open a new link")
            return LinkResultRead.model_validate(stored["answer"])
        self.check_active(link)
        if link.request["purpose"] == "try":
            result = self._tried(link, body)
        else:
            result = self._measured(link, backend, body)
        missing = [] if body.get("last") is not True else _missing(link, backend)
        result["answer"]["warnings"] += [f"the browser has no {_NAMES[name]}" for name in missing]
        self._store.record(link, backend, {"sha256": sha256, **result}, last=bool(missing))
        return LinkResultRead.model_validate(result["answer"])

    def _measured(self, link: Link, backend: str, body: Mapping[str, Any]) -> dict[str, Any]:
        request, plan = link.request, self._plan_of(link.request)
        assert link.opened_at is not None
        measured = results.read_result(
            body,
            plan,
            request["backends"],
            processor=request["processor"],
            measured_at=link.opened_at,
        )
        catalog, name = self._places.catalog.seen_by(link.caller), _device(request, backend)
        if request["mode"] == "thorough":
            table = results.assemble(name, plan, measured)
        else:
            table = results.fit(name, plan, measured, catalog)
        self._keep(catalog, table, request, link.caller)
        answer = LinkResultRead(
            devices=[name],
            warnings=[note.text for note in table.notes],
            expected_error=table.expected_error,
            origin=table.origin,  # type: ignore[arg-type]
            source=table.source,
        )
        return {"stored": name, "answer": answer.model_dump(mode="json")}

    def _keep(
        self, catalog: Catalog, table: LatencyTable, request: Mapping[str, Any], caller: Caller
    ) -> None:
        """Keep a table for whoever made the link, whose rights are looked at again."""
        self._check_names_still(catalog, table, request)
        try:
            catalog.keep_device(table, replace=request["replace"], shared=request["shared"])
        except Conflict:
            # The same result, of which the answer was lost before it was recorded.
            if not catalog.devices.holds(table):
                raise

    def _check_names_still(
        self, catalog: Catalog, table: LatencyTable, request: Mapping[str, Any]
    ) -> None:
        key = (table.space, table.conditions.precision)
        if request["replace"] and key in catalog.devices.keys().get(table.device, ()):
            catalog.devices.check_changeable(table.device)

    def _tried(self, link: Link, body: Mapping[str, Any]) -> dict[str, Any]:
        request = link.request
        assert link.opened_at is not None
        found = trying.judge(
            body,
            request,
            self.finished_model(link),
            self.images(link),
            measured_at=link.opened_at,
        )
        warnings = found.pop("warnings")
        self._places.searches.note_try(request["search"], found)
        answer = LinkResultRead(
            devices=[],
            warnings=warnings,
            expected_error=None,
            source=None,
            try_result=found,
        )
        return {"stored": request["search"], "answer": answer.model_dump(mode="json")}

    def _plan_of(self, request: Mapping[str, Any]) -> RemotePlan:
        bundle = self._places.catalog.supernets.get(request["supernet"])
        return self._plans.get(bundle.space, request["mode"], request["precision"])


def _for(link: Link, purpose: str) -> Mapping[str, Any]:
    """The request of a link of this purpose."""
    if link.request["purpose"] != purpose:
        raise NotFound(f"this link is to {link.request['purpose']}: it has no such thing")
    return link.request


def _device(request: Mapping[str, Any], backend: str) -> str:
    name: str = request["device"]
    return f"{name}{SUFFIX}" if backend == "webgpu" else name


def _missing(link: Link, backend: str) -> list[str]:
    """Backends of a link without a result, beside this one."""
    return [name for name in link.request["backends"] if name not in (*link.results, backend)]
