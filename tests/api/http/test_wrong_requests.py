"""Every route with wrong ids, bodies and types: errors in our words that say what is wrong, where, what is allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from acestep_flows.api.options import ApiOptions
from acestep_flows.client import Client
from acestep_flows.errors import MOST_LISTED, NotFound
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import Door, opened

JSON = "application/json"
GOOD_ID = "0" * 26
FOREIGN_WORDS = re.compile(
    r"Input should|Field required|Extra inputs|String should|Value error|List should|unable to parse|valid dictionary"
    r"|extract fields|JSON decode|type=|pydantic|loc\b|Not Found|Method Not Allowed|There was an error",
    re.IGNORECASE,
)
"""Words of libraries, which users must not meet."""


@pytest.fixture(scope="module")
def door(strict: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server that computes nothing and takes graphs of callers."""
    root = tmp_path_factory.mktemp("wrong")
    with opened(root, strict, options=ApiOptions(inline_graphs=True, render_seconds=0.1), executing=False) as door:
        yield door


@pytest.fixture(scope="module")
def operations(door: Door) -> list[tuple[str, str, dict[str, Any]]]:
    document = door.client.get("/openapi.json").json()
    found = [(path, method, what) for path, methods in document["paths"].items() for method, what in methods.items()]
    assert len(found) > 15
    return found


def fault(response: httpx2.Response, status: int | tuple[int, ...]) -> dict[str, Any]:
    """The error of a response, in our words."""
    statuses = status if isinstance(status, tuple) else (status,)
    assert response.status_code in statuses, (response.request.method, response.request.url, response.text)
    error: dict[str, Any] = response.json()["error"]
    assert error["code"]
    assert not FOREIGN_WORDS.search(error["message"]), error
    assert "\n" not in error["message"] or error["code"] == "invalid_graph", error
    return error


def filled(path: str, **names: str) -> str:
    """A path with its parameters; those that are not named are of the right form, and exist where they can."""
    prefix = "asset" if "/assets/" in path else "run"
    names = {"id": f"{prefix}-{GOOD_ID}", "name": "text2music" if "/graphs/" in path else "audio"} | names
    return re.sub(r"\{(\w+)(?::path)?\}", lambda match: names.get(match[1], "x"), path)


def body_schema(operation: dict[str, Any], document: dict[str, Any]) -> dict[str, Any] | None:
    content = operation.get("requestBody", {}).get("content", {})
    if JSON not in content:
        return None
    schema: dict[str, Any] = document["components"]["schemas"][content[JSON]["schema"]["$ref"].rpartition("/")[2]]
    return schema


def body_example(operation: dict[str, Any], document: dict[str, Any]) -> Any:
    """A right body; None if the operation has none."""
    schema = body_schema(operation, document)
    return None if schema is None else schema["examples"][0]


def test_a_wrong_id_is_not_found_and_its_form_is_told(door: Door, operations: list[Any]) -> None:
    document = door.client.get("/openapi.json").json()
    tried = 0
    for path, method, operation in operations:
        if "{id}" not in path:
            continue
        tried += 1
        kind = "asset" if "/assets/" in path else "run"
        json_body = body_example(operation, document)
        for id in ("nope", "run-123", "run-" + "g" * 26, "%00", "x" * 3000, "asset%2Fx"):
            response = door.client.request(method, filled(path, id=id), json=json_body)
            if response.status_code == 404 and "nothing at" in response.json()["error"]["message"]:
                continue  # an encoded slash is another path
            error = fault(response, 404)
            assert re.search(rf"no {kind} '.*'; ids look like {kind}-[0-9a-f]{{26}}$", error["message"]), error
            assert re.fullmatch(rf"an id such as {kind}-[0-9a-f]{{26}}", error["allowed"])
        unknown = fault(door.client.request(method, filled(path), json=json_body), 404)
        assert unknown["message"] == f"no {kind} '{kind}-{GOOD_ID}'"
    assert tried >= 8


def test_a_wrong_graph_is_not_found_and_the_nearest_is_told(door: Door, operations: list[Any]) -> None:
    document = door.client.get("/openapi.json").json()
    for path, method, operation in operations:
        if "/graphs/{name}" in path:
            body = body_example(operation, document)
            error = fault(door.client.request(method, filled(path, name="text2musik"), json=body), 404)
            assert error["message"].startswith("no graph 'text2musik', nearest 'text2music'; allowed: ")
            assert "text2music" in error["allowed"].split(", ")
            fault(door.client.request(method, filled(path, name="x" * 2000), json=body), 404)


def test_a_body_that_is_not_json_says_where(door: Door, operations: list[Any]) -> None:
    tried = 0
    for path, method, operation in operations:
        if JSON not in operation.get("requestBody", {}).get("content", {}):
            continue
        tried += 1
        url, headers = filled(path), {"Content-Type": JSON}
        broken = fault(door.client.request(method, url, content=b'{\n "a": 1,\n bad}', headers=headers), 422)
        assert broken["message"] == (
            "body: not JSON at line 3, column 2: expecting property name enclosed in double quotes "
            "(allowed: a JSON object)"
        )
        assert broken["field"] == "body"
        assert (
            "line 1, column 2"
            in fault(door.client.request(method, url, content=b"{bad", headers=headers), 422)["message"]
        )
        for content in (b"\xff\xfe{", b"[" * 100_000):
            error = fault(door.client.request(method, url, content=content, headers=headers), 422)
            assert (error["field"], error["code"]) == ("body", "invalid_input")
        empty = fault(door.client.request(method, url, headers=headers), 422)
        assert (empty["message"], empty["field"]) == ("body: missing (allowed: a JSON object)", "body")
        for content in (b"[1, 2]", b"5", b'"text"', b"true"):
            error = fault(door.client.request(method, url, content=content, headers=headers), 422)
            assert (error["field"], error["allowed"]) == ("body", "a JSON object"), error
    assert tried >= 4


def test_a_missing_or_wrong_content_type_is_named(door: Door, operations: list[Any]) -> None:
    for path, method, operation in operations:
        if JSON not in operation.get("requestBody", {}).get("content", {}):
            continue
        request = {"method": method, "url": filled(path), "content": b"{}"}
        missing = fault(door.client.request(**request), 415)
        assert missing["code"] == "unsupported_media_type"
        assert (missing["field"], missing["allowed"]) == ("Content-Type", JSON)
        assert missing["message"].startswith(f"Content-Type: missing; send the header Content-Type: {JSON}")
        form = fault(door.client.request(**request, headers={"Content-Type": "application/x-www-form-urlencoded"}), 415)
        assert form["message"].startswith("Content-Type: 'application/x-www-form-urlencoded' is not JSON; ")


def test_unknown_fields_are_refused_with_the_nearest_one(door: Door, operations: list[Any]) -> None:
    document = door.client.get("/openapi.json").json()
    for path, method, operation in operations:
        schema = body_schema(operation, document)
        if schema is None:
            continue
        for name in schema["properties"]:
            error = fault(door.client.request(method, filled(path), json={f"{name}x": 1}), 422)
            assert error["field"] == f"{name}x"
            assert f"did you mean {name!r}?" in error["message"], error
            assert set(error["allowed"].split(", ")) == set(schema["properties"])


def test_the_walk_of_a_newcomer(door: Door) -> None:
    error = fault(door.client.post("/v1/runs", json={"graph": "text2music", "input": {"tags": "x"}}), 422)
    assert error["message"].startswith("input: no such field; did you mean 'inputs'? (allowed: ")
    flat = fault(door.client.post("/v1/runs", json={"graph": "text2music", "tags": "x"}), 422)
    assert flat["message"].startswith("tags: no such field; inputs of the graph stand in 'inputs' (allowed: ")


def test_values_of_the_wrong_type_name_their_field(door: Door, operations: list[Any]) -> None:
    """Every field of every body with values of all types: each error is in our words and names the field."""
    document = door.client.get("/openapi.json").json()
    values: list[Any] = [None, True, -1.5, 10**400, "", "x" * 3000, "a\0b", [], [[]], {}, {"a": {"b": 1}}]
    refused = 0
    for path, method, operation in operations:
        schema = body_schema(operation, document)
        for name in schema["properties"] if schema else ():
            for value in values:
                response = door.client.request(
                    method, filled(path), content=json.dumps({name: value}), headers={"Content-Type": JSON}
                )
                if response.is_success or response.status_code == 504:
                    continue
                if path == "/v1/session" and response.status_code == 409:
                    continue  # this server has no keys, so any key is one too many
                refused += 1
                error = fault(response, (404, 422))
                assert error.get("field") or error["code"] in ("invalid_graph", "not_found"), error
    assert refused > 50


def test_query_parameters_and_headers_are_named(door: Door) -> None:
    for params, message in (
        ({"limit": "many"}, "limit: text 'many' (allowed: a whole number)"),
        ({"limit": 0}, "limit: 0 (allowed: at least 1)"),
        ({"limit": 10**9}, "limit: 1000000000 (allowed: at most "),
        ({"state": "runing"}, "state: text 'runing'; did you mean 'running'? (allowed: queued, running, "),
        ({"after": "nope"}, "after: text 'nope' (allowed: an id such as run-"),
        ({"graph": "\0"}, "graph: a text with a null character or an invalid Unicode character (lone surrogate)"),
    ):
        error = fault(door.client.get("/v1/runs", params=params), 422)
        assert error["message"].startswith(message), error
        assert error["field"] == next(iter(params))
    run = door.submit()["id"]
    error = fault(door.client.get(f"/v1/runs/{run}", params={"wait": "1e99"}), 422)
    assert error["message"] == "wait: 1e99 (allowed: at most 60)"
    header = door.client.post("/v1/runs", json={"graph": "text2music"}, headers={"Idempotency-Key": "x" * 999})
    assert fault(header, 422)["message"].startswith("Idempotency-Key: 999 characters (allowed: at most ")


def test_several_faults_are_told_together(door: Door) -> None:
    body = {"graph": 5, "priority": "high", "cache": "refesh", "webhook": 5}
    error = fault(door.client.post("/v1/runs", json=body), 422)
    for part in ("graph: ", "(allowed: text or a JSON object)", "did you mean 'refresh'?", 'an object with "url"'):
        assert part in error["message"]
    assert error["field"] == "priority", "the first one"


def test_paths_and_methods_that_do_not_exist(door: Door) -> None:
    error = fault(door.client.get("/v1/nothing"), 404)
    assert error["message"] == "nothing at /v1/nothing; GET / says where to begin"
    for path, near in (
        ("/v1/run", "/v1/runs"),
        ("/runs", "/v1/runs"),
        ("/v1/graph/text2music", "/v1/graphs/{name}"),
        (f"/v1/run/{GOOD_ID}/output/song", "/v1/runs/{id}/outputs/{name}"),
    ):
        error = fault(door.client.get(path), 404)
        assert error["message"] == f"nothing at {path}, nearest {near}; GET / says where to begin"
    error = fault(door.client.put("/v1/runs", json={}), 405)
    assert error["message"] == "PUT is not allowed at /v1/runs (allowed: GET, POST)"
    assert error["allowed"] == "GET, POST"


def test_a_path_names_all_of_its_methods(door: Door, operations: list[Any]) -> None:
    methods: dict[str, set[str]] = {}
    for path, method, _ in operations:
        methods.setdefault(path, set()).add(method.upper())
    for path, known in methods.items():
        response = door.client.request("TRACE", filled(path))
        error = fault(response, 405)
        allowed = response.headers["allow"].split(", ")
        assert error["allowed"].split(", ") == allowed == sorted(allowed)
        assert known <= set(allowed), path


def test_a_key_that_stands_twice_is_refused_by_its_name(door: Door, operations: list[Any]) -> None:
    for path, method, operation in operations:
        if JSON not in operation.get("requestBody", {}).get("content", {}):
            continue
        for content, key in (
            (b'{"graph": "decode", "graph": "text2music"}', "graph"),
            (b'{"inputs": {"tags": "a", "seed": 1, "tags": "b"}}', "tags"),
        ):
            response = door.client.request(method, filled(path), content=content, headers={"Content-Type": JSON})
            error = fault(response, 422)
            assert (error["code"], error["field"]) == ("invalid_input", key)
            assert error["message"] == f"{key}: given several times in one object (allowed: once)"


def test_what_is_not_found_names_its_parameter(door: Door) -> None:
    run = door.submit()["id"]
    for path, field in (
        (f"/v1/runs/run-{GOOD_ID}", "id"),
        (f"/v1/assets/asset-{GOOD_ID}", "id"),
        ("/v1/graphs/text2musik", "name"),
        (f"/v1/runs/{run}/outputs/video", "name"),
        (f"/v1/runs/{run}/outputs/video/peaks", "name"),
        (f"/v1/runs/{run}/previews/take", "node"),
    ):
        assert fault(door.client.get(path), 404)["field"] == field
    for body, field in (({"graph": "text2musik"}, "graph"), ({"labels": {"parent": f"run-{GOOD_ID}"}}, "graph")):
        assert fault(door.client.post("/v1/runs", json=body), (404, 422))["field"] == field


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ('{"tags": "x", "duration": NaN}', "duration"),
        ('{"tags": "x", "duration": 1e999}', "duration"),
        ('{"tags": "x", "seed": null}', "seed"),
        ('{"tags": null}', "tags"),
        ('{"tags": "a\\u0000b"}', "tags"),
        ("null", "inputs"),
        ('{"tags": "x", "duration": [NaN]}', "duration"),
    ],
)
def test_a_wrong_input_is_named(door: Door, inputs: str, field: str) -> None:
    for path, graph in (("/v1/runs", '"graph": "text2music", '), ("/v1/graphs/text2music/plan", "")):
        content = f'{{{graph}"inputs": {inputs}}}'
        error = fault(door.client.post(path, content=content, headers={"Content-Type": JSON}), 422)
        assert (error["field"], error["code"]) == (field, "invalid_input"), error


def test_an_asset_that_does_not_exist_names_the_input(door: Door, tmp_path: Path) -> None:
    body = {"graph": "audio2audio", "inputs": {"reference": "song.wav", "tags": "x"}}
    error = fault(door.client.post("/v1/runs", json=body), 404)
    assert error["message"].startswith("reference: no asset 'song.wav'; ids look like asset-")
    assert error["message"].endswith("; POST /v1/assets takes a file and gives its id")
    assert error["field"] == "reference"


def test_several_faults_are_told_one_by_one(door: Door) -> None:
    inputs = {"tags": "x", "duration": 900, "stepz": 3}
    error = fault(door.client.post("/v1/runs", json={"graph": "text2music", "inputs": inputs}), 422)
    assert {one["field"] for one in error["faults"]} == {"duration", "stepz"}
    assert error["message"] == "; ".join(one["message"] for one in error["faults"])
    assert (error["field"], error["allowed"]) == (error["faults"][0]["field"], error["faults"][0]["allowed"])
    error = fault(door.client.post("/v1/runs", json={"graph": "text2music", "inputs": {"tags": "x", "stepz": 3}}), 422)
    assert "faults" not in error, "there is one"


@pytest.mark.parametrize("option", ["priority", "deadline", "preview_every"])
def test_a_text_is_no_number_among_options_either(door: Door, option: str) -> None:
    body = {"graph": "text2music", "inputs": {"tags": "x"}, option: "5"}
    error = fault(door.client.post("/v1/runs", json=body), 422)
    assert (error["field"], "number" in error["allowed"]) == (option, True)


def test_a_run_is_no_source_but_its_output_is(door: Door) -> None:
    inputs = {"reference": f"run-{GOOD_ID}", "tags": "x"}
    error = fault(door.client.post("/v1/runs", json={"graph": "audio2audio", "inputs": inputs}), 404)
    assert (
        f"; that is a run: one of its outputs has its id in the field asset of GET /v1/runs/run-{GOOD_ID}"
        in (error["message"])
    )


def test_allowed_has_every_name(door: Door) -> None:
    """A program can read it, whatever the message shows of it."""
    graphs = {entry["name"] for entry in door.client.get("/v1/graphs").json()["graphs"]}
    wanted = {"tags": "x"}
    for response, field in (
        (door.client.post("/v1/runs", json={"graph": "text2musik", "inputs": wanted}), "graph"),
        (door.client.get("/v1/graphs/text2musik"), "name"),
        (door.client.post("/v1/graphs/text2musik/plan", json={"inputs": wanted}), "name"),
        (door.client.post("/v1/graphs/text2musik:render", json={"inputs": wanted}), "name"),
    ):
        error = fault(response, 404)
        assert error["field"] == field
        assert "nearest 'text2music'" in error["message"]
        assert set(error["allowed"].split(", ")) == graphs
    inputs = door.client.get("/v1/graphs/text2music").json()["inputs"]["properties"]
    assert len(inputs) > MOST_LISTED
    error = fault(door.client.post("/v1/runs", json={"graph": "text2music", "inputs": {**wanted, "stepz": 3}}), 422)
    assert (error["field"], set(error["allowed"].split(", "))) == ("stepz", set(inputs))
    assert "nearest 'steps'" in error["message"]
    assert "advanced ones" in error["message"]
    error = fault(door.client.post("/v1/graphs/text2music:render", json={"inputs": wanted, "output": "audoi"}), 422)
    assert (error["field"], error["allowed"]) == ("output", "audio, latents, report")


@pytest.mark.parametrize("state", ["queued", "cancelled"])
def test_an_output_that_a_run_does_not_have_tells_its_state(door: Door, state: str) -> None:
    run = door.submit()["id"]
    if state == "cancelled":
        door.client.delete(f"/v1/runs/{run}")
    said = {"queued": "it is queued", "cancelled": "it was cancelled"}[state]
    path = f"/v1/runs/{run}/outputs/audio"
    error = fault(door.client.get(path), 404)
    assert error["message"] == f"run {run} has no output 'audio'; there are: none, {said}"
    assert (error["field"], error["allowed"]) == ("name", "none")
    with Client(door.url) as client, pytest.raises(NotFound) as missing:
        client.fetch_output(run, "audio", ".")
    assert (str(missing.value), missing.value.field, missing.value.allowed) == (
        error["message"],
        error["field"],
        error["allowed"],
    )
    for refused in (
        door.client.delete(path),
        door.client.get(f"{path}/peaks"),
        door.client.post(f"{path}/link", json={}),
    ):
        assert fault(refused, 404)["message"] == error["message"]


def test_an_unknown_parameter_is_refused_on_every_route(door: Door, operations: list[Any]) -> None:
    routes = [(path, method, what) for path, method, what in operations if path.startswith("/v1/")]
    assert len(routes) > 25
    for path, method, what in routes:
        known = [each["name"] for each in what.get("parameters", ()) if each["in"] == "query"]
        error = fault(door.client.request(method, filled(path), params={"wiat": "1"}, content=b"{}"), 422)
        assert error["field"] == "wiat"
        assert error["allowed"] == (", ".join(known) or "no parameters")
        assert "no such parameter" in error["message"]
        for name in known:
            wrong = fault(door.client.request(method, filled(path), params={name[:-1] + "_": "1"}), 422)
            assert f"did you mean {name!r}?" in wrong["message"]


def test_a_parameter_given_twice_is_refused_unless_it_is_a_list(door: Door) -> None:
    error = fault(door.client.get("/v1/runs?limit=1&limit=2"), 422)
    assert (error["field"], error["message"]) == ("limit", "limit: given several times (allowed: once)")
    assert door.client.get("/v1/runs?label=a&label=b").status_code == 200


def test_probes_may_add_parameters(door: Door) -> None:
    for path in ("/", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"):
        assert door.client.get(path, params={"probe": "1"}).status_code == 200


def test_other_methods_of_a_file_know_the_same_parameters(door: Door) -> None:
    path = f"/v1/runs/run-{GOOD_ID}/outputs/audio"
    assert door.client.head(path, params={"formt": "mp3"}).status_code == 422
    assert door.client.head(path, params={"format": "mp3"}).status_code == 404
