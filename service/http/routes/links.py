"""Links: made, read and cancelled by the host; opened and answered by another device.

The device's routes need no key. Each checks the secret of its session, in the header Link-Session,
before anything of the body is read, and bounds that body.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Body, Depends, Header, HTTPException, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from service.contracts import (
    Caller,
    LinkClaim,
    LinkPlanRead,
    LinkProgress,
    LinkRead,
    LinkRequest,
    LinkResultRead,
    LinkSessionCreated,
    LinkSessionRead,
    LinkSessionStatus,
)
from service.http.dependencies import CallerDep, NamePath, ServiceDep
from service.http.problems import problems
from service.http.ranges import MEDIA_TYPE
from service.http.scopes import requires
from service.http.strict_json import StrictRoute
from service.links import address_of
from service.storage import Link

E = TypeVar("E", bound=Callable[..., Any])
MAX_SECRET = 100
CLAIM_BYTES, PROGRESS_BYTES = 1024, 32 * 1024


def takes(max_bytes: int, *, session: bool = True) -> Callable[[E], E]:
    """Declare the largest body of an endpoint, and whether it is of a session."""

    def declare(endpoint: E) -> E:
        endpoint.max_body_bytes = max_bytes  # type: ignore[attr-defined]
        endpoint.has_session = session  # type: ignore[attr-defined]
        return endpoint

    return declare


class DeviceRoute(StrictRoute):
    """A route for a device: its session is known, and its body small enough, before it is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler behind these checks."""
        handle, most = super().get_route_handler(), getattr(self.endpoint, "max_body_bytes", 0)
        has_session = getattr(self.endpoint, "has_session", True)

        async def checked(request: Request) -> Response:
            limit = most
            if has_session:
                service = request.app.state.service
                secret = request.headers.get("link-session", "")
                link = await run_in_threadpool(service.links.of_session, secret[: MAX_SECRET + 1])
                _name(request, link)
                request.state.link = link
                limit = limit or service.links.max_result_bytes(link)
            request = _bounded(request, limit)
            return await handle(request)

        return checked


def _bounded(request: Request, most: int) -> Request:
    """The request, refused (413) while its body is read if that is too long."""
    receive, size = request.receive, 0

    async def counted() -> Any:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise HTTPException(413, f"expected a body of at most {most} bytes")
        return message

    return Request(request.scope, counted)


def _name(request: Request, link: Link) -> None:
    """Have the audit log say for whom, and with which link, a device acts."""
    request.state.acts_for = Caller(owner=link.owner, scope="read", key_id="link")
    request.state.audit_target = f"/v1/links/{link.id}"


router = APIRouter(
    prefix="/v1/links", tags=["links"], responses=problems(422), route_class=StrictRoute
)
device_router = APIRouter(
    prefix="/v1/link-sessions", tags=["links"], responses=problems(422), route_class=DeviceRoute
)


# -- the host ------------------------------------------------------------------------------


@router.post("", status_code=201, responses=problems(404, 409, 429))
@requires("search")
def create_link(
    link: LinkRequest, request: Request, response: Response, service: ServiceDep, caller: CallerDep
) -> LinkRead:
    """Make an address that one other device opens once, within 30 minutes: it is measured in its
    browser and added, or tries the model of a finished search.

    `url`, `code` and `qr_svg` are in this answer alone.
    """
    address = address_of(
        str(request.base_url),
        service.settings.public_url,
        listens_everywhere=getattr(request.app.state, "listens_everywhere", False),
    )
    made = service.links.create(link, caller, address)
    response.headers["Location"] = f"/v1/links/{made.id}"
    return made


@router.get("/{id}", responses=problems(404))
@requires("search")
def read_link(id: NamePath, service: ServiceDep, caller: CallerDep) -> LinkRead:
    """A link of yours: whether it was opened, how far the device is, what came of it."""
    link: LinkRead = service.links.get(id, caller)
    return link


@router.delete("/{id}", responses=problems(404, 409))
@requires("search")
def cancel_link(id: NamePath, service: ServiceDep, caller: CallerDep) -> LinkRead:
    """End a link of yours; its device is told at its next request."""
    link: LinkRead = service.links.cancel(id, caller)
    return link


# -- the device ----------------------------------------------------------------------------


async def get_link(
    request: Request,
    link_session: Annotated[
        str, Header(max_length=MAX_SECRET, description="The secret of the session.")
    ] = "",
) -> Link:
    """The link of a session, ended or not, as `DeviceRoute` found it."""
    link: Link = request.state.link
    return link


def get_active(link: Annotated[Link, Depends(get_link)], service: ServiceDep) -> Link:
    """The link of a session that has not ended; 410 if it has."""
    service.links.check_active(link)
    return link


AnyLink = Annotated[Link, Depends(get_link)]
ActiveLink = Annotated[Link, Depends(get_active)]


@device_router.post("", status_code=201, responses=problems(404, 410))
@requires("public")
@takes(CLAIM_BYTES, session=False)
def open_link(claim: LinkClaim, request: Request, service: ServiceDep) -> LinkSessionCreated:
    """Open a link, once. `session` is shown here alone, and lasts for 30 minutes."""
    link, created = service.links.claim(claim.code, request.headers.get("user-agent", ""))
    _name(request, link)
    session: LinkSessionCreated = created
    return session


@device_router.get("/current", responses=problems(404))
@requires("public")
def read_session(link: AnyLink, service: ServiceDep) -> LinkSessionRead:
    """What the device is to do, and whether it still is."""
    session: LinkSessionRead = service.links.describe(link)
    return session


@device_router.get("/current/plan", responses=problems(404, 410))
@requires("public")
def read_plan(link: ActiveLink, service: ServiceDep) -> LinkPlanRead:
    """What to time, and with which models."""
    return LinkPlanRead.model_validate(service.links.plan(link))


@device_router.get(
    "/current/models/{number}",
    response_class=Response,
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
        **problems(404, 410),
    },
)
@requires("public")
def download_planned_model(
    number: Annotated[int, Path(ge=0, le=100_000)],
    link: ActiveLink,
    service: ServiceDep,
    accept_encoding: Annotated[str | None, Header()] = None,
) -> Response:
    """A model of the plan, as ONNX."""
    content = service.links.model(link, number)
    return _binary(content, accept_encoding)


def _binary(compressed: bytes, accept_encoding: str | None) -> Response:
    """Compressed bytes, unpacked for who does not take them so."""
    import gzip

    headers = {"Vary": "Accept-Encoding"}
    if "gzip" in (accept_encoding or ""):
        headers["Content-Encoding"] = "gzip"
        return Response(compressed, headers=headers, media_type=MEDIA_TYPE)
    return Response(gzip.decompress(compressed), headers=headers, media_type=MEDIA_TYPE)


@device_router.put("/current/progress", responses=problems(404))
@requires("public", audited=False)
@takes(PROGRESS_BYTES)
def report_progress(
    progress: LinkProgress, link: AnyLink, service: ServiceDep
) -> LinkSessionStatus:
    """Say how far the device is; at most two reports a second are kept. A phase that begins with
    "Stopped: " ends the link."""
    status: LinkSessionStatus = service.links.report(link, progress)
    return status


@device_router.post("/current/result", status_code=201, responses=problems(404, 409, 410))
@requires("public")
def add_result(
    result: Annotated[dict[str, Any], Body()], link: AnyLink, service: ServiceDep
) -> LinkResultRead:
    """Add what the device has measured, or found of the model that it tried: an object as a
    measuring kit writes it, with `plan` and `backend`. The same again has the same answer."""
    answer: LinkResultRead = service.links.finish(link, result)
    return answer


@device_router.get(
    "/current/model",
    response_class=Response,
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
        **problems(404, 410),
    },
)
@requires("public")
def download_tried_model(link: ActiveLink, service: ServiceDep) -> Response:
    """The finished model that is tried."""
    return Response(service.links.finished_model(link), media_type=MEDIA_TYPE)


@device_router.get(
    "/current/images",
    response_class=Response,
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
        **problems(404, 410),
    },
)
@requires("public")
def download_images(link: ActiveLink, service: ServiceDep) -> Response:
    """Validation images as the model that is tried takes them: float32, little endian; Image-Shape
    has their shape, which may begin with 0."""
    images = service.links.images(link)
    headers = {"Image-Shape": ",".join(map(str, images.shape))}
    return Response(images.astype("<f4").tobytes(), headers=headers, media_type=MEDIA_TYPE)
