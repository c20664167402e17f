"""What every route requires, written down apart from the routes' own declarations."""

from __future__ import annotations

from service.contracts import Rule

RULES: dict[tuple[str, str], Rule] = {
    ("GET", "/"): "public",
    ("GET", "/docs"): "public",
    ("GET", "/assets/{path:path}"): "public",
    ("GET", "/openapi.json"): "public",
    ("GET", "/healthz"): "public",
    ("GET", "/readyz"): "public",
    ("GET", "/metrics"): "read",
    ("GET", "/v1/supernets"): "read",
    ("GET", "/v1/supernets/{name}"): "read",
    ("GET", "/v1/supernets/{name}/architecture.svg"): "read",
    ("GET", "/v1/supernets/{name}/ledger"): "read",
    ("GET", "/v1/supernets/{name}/devices/{device}/front"): "read",
    ("GET", "/v1/supernets/{name}/devices/{device}/explain"): "read",
    ("GET", "/v1/networks"): "read",
    ("GET", "/v1/networks/{id}"): "read",
    ("GET", "/v1/devices"): "read",
    ("GET", "/v1/devices/{name}"): "read",
    ("POST", "/v1/devices"): "search",
    ("POST", "/v1/devices/{name}/measurements"): "search",
    ("GET", "/v1/searches"): "read",
    ("POST", "/v1/searches"): "search",
    ("GET", "/v1/searches/{search_id}"): "read",
    ("DELETE", "/v1/searches/{search_id}"): "search",
    ("GET", "/v1/searches/{search_id}/events"): "read",
    ("GET", "/v1/searches/{search_id}/model.onnx"): "read",
    ("GET", "/v1/searches/{search_id}/model.onnx.sig"): "read",
    ("GET", "/v1/searches/{search_id}/explain"): "read",
    ("GET", "/v1/searches/{search_id}/architecture.svg"): "read",
}
