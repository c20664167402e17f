"""Submit a request: it is answered by a stored search, queued as a new one, or refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from latency_tables.table import LatencyTable, table_to_json
from models.bundle import PREDICTOR
from models.errors import InputError
from service.catalog import (
    FRONT_FORMAT,
    Catalog,
    DeploymentContext,
    Goal,
    check_goal,
    resolve_limits,
    with_goal,
)
from service.contracts import LOCAL, Caller, NewSearch, Search, SearchRequest
from service.delivery import deliverable_batch
from service.storage import SearchStore, WebhookStore, claim, identity, own_key

ENGINE = 2
"""Part of every request's hash: increased when the same request may get another answer."""


def submit(
    store: SearchStore,
    catalog: Catalog,
    request: SearchRequest,
    key: str | None = None,
    caller: Caller = LOCAL,
    webhooks: WebhookStore | None = None,
) -> Search:
    """The search of `request`: a stored one, or one queued now. What cannot succeed is refused.

    The search, its owner and its webhook are stored together or not at all.

    Args:
        key: the client's Idempotency-Key: the same key always gives the same search.
        caller: owner of the search, if it is not shared.
        webhooks: where the request's webhook is registered; a request without one needs none.

    Raises:
        NotFound, InputError: if the request is not valid.
        Infeasible: with the floor, if no network meets one of the limits.
    """
    fields = request.model_dump(mode="json", exclude_none=True)
    for name in ("shared", "allow_low_top1", "effort"):
        if fields[name] == SearchRequest.model_fields[name].default:
            del fields[name]  # requests of versions without this field keep their hash
    fields.pop("webhook", None)  # does not change what is searched

    def register(session: Session, search: Search, repeated: bool) -> None:
        if caller.owner is not None:
            claim(session, search.id, caller.owner, request.shared)
        if request.webhook is not None:
            assert webhooks is not None
            webhooks.register(session, search.id, request.webhook, repeated=repeated)

    body = sha256_of(fields)
    key = None if key is None else own_key(key, caller)
    if key is not None and (stored := store.find_by_key(key, body, register)) is not None:
        return stored
    context = catalog.context(request.supernet, request.device, request.precision, request.runtime)
    table, bundle = context.table, context.bundle
    assert table is not None
    _check_table(request, table)
    context.require_predictor()
    limits, minimums = resolve_limits(context, request.constraints.limits())
    goal = Goal.of_request({**fields, "minimums": minimums})
    canonical = _canonical(request, context, limits, goal)
    request_sha256 = sha256_of(identity(canonical, caller, request.shared))
    if key is None and (stored := store.find_by_request(request_sha256, register)) is not None:
        return stored
    check_goal(*with_goal(context, limits, goal), goal)
    bundle.check_deliverable()
    new = NewSearch(
        request=canonical,
        request_sha256=request_sha256,
        supernet=bundle.name,
        device=table.device,
        profile_sha256=canonical["device_sha256"],
        profile=table_to_json(table),
    )
    return store.submit(new, None if key is None else (key, body), register)


def _canonical(
    request: SearchRequest, context: DeploymentContext, limits: Mapping[str, float], goal: Goal
) -> dict[str, Any]:
    """What the answer depends on, and limits as they were given where they were not in units."""
    table, floats, bundle = context.table, context.float_table, context.bundle
    given = request.constraints.limits()
    assert table is not None
    return {
        "engine": ENGINE,
        "front": FRONT_FORMAT,
        "supernet": bundle.name,
        "supernet_sha256": bundle.sha256,
        "predictor_sha256": bundle.card["files"][PREDICTOR],
        "device": table.device,
        "device_sha256": table.sha256,
        **({} if floats is None else {"fp32_device_sha256": floats.sha256}),
        "constraints": limits,
        **({} if given == limits else {"asked": given}),
        **goal.to_request(),
        "precision": request.precision,
        "seed": request.seed,
        **({"allow_low_top1": True} if request.allow_low_top1 else {}),
        **({} if request.batch is None else {"batch": request.batch}),
    }


def _check_table(request: SearchRequest, table: LatencyTable) -> None:
    deliverable_batch(request.batch, table)
    if table.conditions.precision != request.precision:
        raise InputError(
            f"precision {request.precision!r}: the table of device {table.device!r} was taken at "
            f"{table.conditions.precision!r}, which says nothing about it"
        )


def sha256_of(value: Mapping[str, Any]) -> str:
    """Hash of a JSON value's canonical text."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
