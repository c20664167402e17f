"""The API's description names the whole surface and explains its numbers."""

from __future__ import annotations

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from service import __version__
from service.http.app import create_app

SURFACE = {
    ("get", "/v1/supernets"),
    ("get", "/v1/supernets/{name}"),
    ("get", "/v1/supernets/{name}/architecture.svg"),
    ("get", "/v1/supernets/{name}/devices/{device}/explain"),
    ("get", "/v1/supernets/{name}/ledger"),
    ("get", "/v1/supernets/{name}/devices/{device}/front"),
    ("get", "/v1/devices"),
    ("post", "/v1/devices"),
    ("get", "/v1/devices/{name}"),
    ("delete", "/v1/devices/{name}"),
    ("get", "/v1/devices/{name}/table"),
    ("delete", "/v1/supernets/{name}"),
    ("get", "/v1/supernets/{name}/predictor"),
    ("get", "/v1/supernets/{name}/samples"),
    ("get", "/v1/searches/{search_id}/table"),
    ("post", "/v1/devices/{name}/measurements"),
    ("get", "/v1/trainings"),
    ("get", "/v1/trainings/{name}"),
    ("get", "/v1/networks"),
    ("get", "/v1/networks/{id}"),
    ("post", "/v1/links"),
    ("get", "/v1/links/{id}"),
    ("delete", "/v1/links/{id}"),
    ("post", "/v1/link-sessions"),
    ("get", "/v1/link-sessions/current"),
    ("get", "/v1/link-sessions/current/plan"),
    ("get", "/v1/link-sessions/current/models/{number}"),
    ("put", "/v1/link-sessions/current/progress"),
    ("post", "/v1/link-sessions/current/result"),
    ("get", "/v1/link-sessions/current/model"),
    ("get", "/v1/link-sessions/current/images"),
    ("post", "/v1/searches"),
    ("get", "/v1/searches"),
    ("get", "/v1/searches/{search_id}"),
    ("delete", "/v1/searches/{search_id}"),
    ("get", "/v1/searches/{search_id}/architecture.svg"),
    ("get", "/v1/searches/{search_id}/events"),
    ("get", "/v1/searches/{search_id}/explain"),
    ("get", "/v1/searches/{search_id}/model.onnx"),
    ("get", "/v1/searches/{search_id}/model.onnx.sig"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
}


@pytest.fixture(scope="module")
def document():
    return create_app().openapi()


def operations(document):
    return {
        (method, path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


@pytest.mark.slow
def test_the_document_is_valid(document):
    errors = [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()]
    assert not errors
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"] == __version__


def test_tags_are_described_and_none_is_left_out(document):
    described = {tag["name"]: tag["description"] for tag in document["tags"]}
    used = {tag for operation in operations(document).values() for tag in operation["tags"]}
    assert set(described) == used
    assert all(described.values())


def test_a_stream_says_what_one_event_is(document):
    (media,) = (
        content["text/event-stream"]
        for operation in operations(document).values()
        if "text/event-stream"
        in (content := operation["responses"].get("200", {}).get("content", {}))
    )
    assert set(media["x-itemSchema"]["properties"]) >= {"data", "event", "id"}
    assert media["schema"]["type"] == "string"


def test_the_whole_surface_and_nothing_else(document):
    assert set(operations(document)) == SURFACE


def test_every_operation_is_described_and_named_once(document):
    found = operations(document).values()
    assert all(operation.get("description") for operation in found)
    ids = [operation["operationId"] for operation in found]
    assert len(ids) == len(set(ids))


def test_errors_are_problems(document):
    for operation in operations(document).values():
        for status, answer in operation["responses"].items():
            if status in {"404", "409", "422"}:
                assert "application/problem+json" in answer["content"], operation["operationId"]


def test_every_reference_resolves(document):
    schemas = document["components"]["schemas"]

    def references(value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for item in value.values():
                yield from references(item)
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    assert {ref.rpartition("/")[2] for ref in references(document)} <= set(schemas)


def test_numbers_say_what_they_are(document):
    result = document["components"]["schemas"]["SearchResult"]["properties"]
    for name in ("top1", "latency_ms", "macs", "params", "model_bytes"):
        assert any(
            word in result[name]["description"].lower() for word in ("predicted", "exact")
        ), name
