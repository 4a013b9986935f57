"""The OpenAPI document is true: answers have the shapes it tells, and requests that it allows are understood.

A real HTTP server; the planner runs the real engine over a scripted model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from serve_app.api.http_config import HttpConfig
from serve_app.pools.readiness import PoolReadiness, Readiness, ReadinessState
from sprint.events import Event
from tests.edge.api_server import ASKED, CHAT, COMPLETIONS, PROMPTED, ApiServer, pieces_of, serving
from tests.edge.from_schema import ANYTHING, values
from tests.scripted_planner import ScriptedPlanner
from tests.scripts import always_answering

EXAMPLES = 80


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with serving(ScriptedPlanner(always_answering), HttpConfig(max_choices=4)) as server:
        yield server


@pytest.fixture(scope="module")
def document(server: ApiServer) -> dict[str, Any]:
    return dict(server.get("/openapi.json").json())


def check(document: dict[str, Any], value: Any, name: str) -> None:
    """Raises when `value` is not what the document's component `name` says."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    Draft202012Validator(schema).validate(value)


def shape_of(document: dict[str, Any], path: str, verb: str, status: int) -> str:
    content = document["paths"][path][verb]["responses"][str(status)]["content"]
    return str(content["application/json"]["schema"]["$ref"].rpartition("/")[2])


# --- the document itself ---------------------------------------------------------------------------------------------


def test_every_schema_of_the_document_is_a_schema(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    for name, schema in document["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema.get("description") or schema.get("enum"), name


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (value["$ref"],) if isinstance(value.get("$ref"), str) else ()
            value = list(value.values())
        if isinstance(value, list):
            for each in value:
                yield from references(each)

    found = {reference.rpartition("/")[2] for reference in references(document)}
    assert found <= set(document["components"]["schemas"])
    assert set(document["components"]["schemas"]) <= found, "what nothing refers to is not told"


def test_every_route_is_told(document: dict[str, Any], server: ApiServer) -> None:
    told = {(path, verb) for path, operations in document["paths"].items() for verb in operations}
    assert told == {
        ("/health", "get"),
        ("/ready", "get"),
        ("/metrics", "get"),
        ("/v1/models", "get"),
        ("/v1/models/{name}", "get"),
        (CHAT, "post"),
        (COMPLETIONS, "post"),
    }
    for path, verb in told:
        assert server.get(path.replace("{name}", "m")).status_code in ((200,) if verb == "get" else (405,))


def test_every_option_of_the_engine_can_be_asked_for(document: dict[str, Any]) -> None:
    from dataclasses import fields

    from sprint.options import EngineOptions

    told = set(document["components"]["schemas"]["SprintOptions"]["properties"])
    told |= set(document["components"]["schemas"]["ChatRequest"]["properties"])
    assert {field.name for field in fields(EngineOptions)} - told == {"priority"}  # not for strangers to set


def test_every_kind_of_event_is_told(document: dict[str, Any]) -> None:
    kinds = {kind.kind for kind in Event.__subclasses__()}
    assert set(document["components"]["schemas"]["SprintEvent"]["properties"]["kind"]["enum"]) == kinds


# --- good requests ---------------------------------------------------------------------------------------------------

GOOD: dict[str, tuple[str, dict[str, Any]]] = {
    "a question": (CHAT, {}),
    "two answers": (CHAT, {"n": 2, "seed": 1}),
    "a timeline": (CHAT, {"sprint": {"timeline": True}}),
    "a limit": (CHAT, {"max_tokens": 3}),
    "a stop string": (CHAT, {"stop": "4"}),
    "one breath": (CHAT, {"sprint": {"mode": "sequential"}}),
    "text to continue": (COMPLETIONS, {}),
    "ids to continue": (COMPLETIONS, {"prompt": [1, 2]}),
    "several to continue": (COMPLETIONS, {"prompt": ["a", "b"], "n": 2, "echo": True, "stop": ["x"]}),
}


@pytest.mark.parametrize("name", GOOD)
def test_an_answer_has_the_shape_that_is_told(server: ApiServer, document: dict[str, Any], name: str) -> None:
    path, options = GOOD[name]
    response = server.post(path, **options)
    assert response.status_code == 200, response.text
    check(document, response.json(), shape_of(document, path, "post", 200))
    check(
        document,
        (PROMPTED if path == COMPLETIONS else ASKED) | options,
        "ChatRequest" if path == CHAT else "CompletionRequest",
    )


EXTRAS = [{}, {"stream_options": {"include_usage": True}}, {"sprint": {"events": True}}]


@pytest.mark.parametrize(
    ("name", "extra"), [(name, extra) for name in GOOD for extra in EXTRAS[: 3 if GOOD[name][0] == CHAT else 2]]
)
def test_every_piece_of_a_stream_has_the_shape_that_is_told(
    server: ApiServer, document: dict[str, Any], name: str, extra: dict[str, Any]
) -> None:
    path, options = GOOD[name]
    sprint = options.get("sprint", {}) | extra.get("sprint", {})
    response = server.post(path, **options | extra | ({"sprint": sprint} if sprint else {}), stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    pieces = pieces_of(response.text)
    for piece in pieces:
        check(document, piece, "ChatCompletionChunk" if path == CHAT else "Completion")
    finished = [each["index"] for piece in pieces for each in piece["choices"] if each["finish_reason"]]
    assert sorted(finished) == list(range(len(finished)))


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m", "/health", "/ready"])
def test_what_can_be_read_has_the_shape_that_is_told(server: ApiServer, document: dict[str, Any], path: str) -> None:
    told = "/v1/models/{name}" if path.endswith("/m") else path
    check(document, server.get(path).json(), shape_of(document, told, "get", 200))


def test_a_service_that_is_not_ready_says_why(server: ApiServer, document: dict[str, Any]) -> None:
    before = server.planner.state
    reason = "model: no replica answers yet, the model is being loaded"
    server.planner.state = Readiness(
        ReadinessState.STARTING, reason, (PoolReadiness("model", ReadinessState.STARTING, "loading"),)
    )
    try:
        response = server.get("/ready")
    finally:
        server.planner.state = before
    assert (response.status_code, response.json()["status"], response.json()["reason"]) == (503, "starting", reason)
    assert reason in response.json()["error"]["message"]
    check(document, response.json(), shape_of(document, "/ready", "get", 503))


# --- requests made from the document ---------------------------------------------------------------------------------


def names_a_parameter(error: dict[str, Any], body: dict[str, Any]) -> Any:
    """Whether an error names a parameter of the request, or one that is missing."""
    name = str(error["param"])
    top = name.partition(".")[0].partition("[")[0]
    options = body.get("sprint")
    known = {*body, *(options if isinstance(options, dict) else ())}
    return error["param"] is not None and ({name, top} & known or "is missing" in error["message"])


def understood(server: ApiServer, document: dict[str, Any], path: str, body: dict[str, Any]) -> int:
    """Sends it. Whatever it is, the answer is an answer or an error that names a parameter."""
    response = server.client.post(path, content=json.dumps(body).encode())
    if response.status_code != 200:
        assert 400 <= response.status_code < 500, response.text
        check(document, response.json(), "Error")
        assert names_a_parameter(response.json()["error"], body), (response.json(), body)
    elif body.get("stream"):
        for piece in pieces_of(response.text):
            check(document, piece, "ChatCompletionChunk" if path == CHAT else "Completion")
    else:
        check(document, response.json(), shape_of(document, path, "post", 200))
    return response.status_code


HTTP = settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def requests(document: dict[str, Any], name: str) -> st.SearchStrategy[dict[str, Any]]:
    parts = document["components"]["schemas"]
    return values(parts[name], parts).map(lambda drawn: drawn | {"model": "m"})


@pytest.mark.parametrize(("path", "name"), [(CHAT, "ChatRequest"), (COMPLETIONS, "CompletionRequest")])
def test_requests_that_the_document_allows_are_understood(
    server: ApiServer, document: dict[str, Any], path: str, name: str
) -> None:
    seen: set[int] = set()

    @HTTP
    @given(requests(document, name))
    def run(body: dict[str, Any]) -> None:
        check(document, body, name)
        seen.add(understood(server, document, path, body))

    run()
    assert 200 in seen, "none of them was answered"


@pytest.mark.parametrize(
    ("path", "name", "good"), [(CHAT, "ChatRequest", ASKED), (COMPLETIONS, "CompletionRequest", PROMPTED)]
)
def test_requests_with_anything_anywhere_are_refused_by_name(
    server: ApiServer, document: dict[str, Any], path: str, name: str, good: dict[str, Any]
) -> None:
    fields = sorted(document["components"]["schemas"][name]["properties"])
    seen: set[int] = set()

    @HTTP
    @given(st.dictionaries(st.sampled_from(fields) | st.text(max_size=6), ANYTHING, min_size=1, max_size=2))
    def run(spoilt: dict[str, Any]) -> None:
        seen.add(understood(server, document, path, good | spoilt))

    run()
    assert 400 in seen, "none of them was refused"
