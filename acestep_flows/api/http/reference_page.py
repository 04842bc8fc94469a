"""The reference of the interface as a page, made from the OpenAPI document. It needs no script and no other origin."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from acestep_flows.api.http.html import Markup, element, joined, table

Json = Mapping[str, Any]

FILE = "application/octet-stream"
KEY_OPTION = '-H "Authorization: Bearer $ACESTEP_FLOWS_API_KEY"'

BOUNDS = {
    "minimum": "from {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "to {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "default": "default {}",
}
"""Words for keywords of JSON Schema."""


def reference(document: Json, origin: str, base: str) -> Markup:
    """The body of the page.

    Args:
        document: the OpenAPI document.
        origin: URL of the server, for the commands.
        base: prefix of paths, where a proxy mounts the service.
    """
    info, groups = document["info"], _by_tag(document)
    parts = [
        element("h1", f"{info['title']} {info['version']}"),
        *(element("p", paragraph) for paragraph in info["description"].split("\n\n")),
        element("p", "For programs: ", element("a", f"{base}/openapi.json", href=f"{base}/openapi.json")),
        element("p", "Where the server has API keys, add to a command: ", element("code", KEY_OPTION)),
        element("nav", *(_index(tag, operations) for tag, operations in groups.items())),
    ]
    errors = _shared_answers([operation for operations in groups.values() for operation in operations])
    parts += [element("h2", "errors of all operations"), _answers(errors)]
    for tag, operations in groups.items():
        parts.append(element("h2", tag))
        parts += [_operation(operation, document, origin, errors) for operation in operations]
    parts.append(element("h2", "schemas"))
    schemas = document["components"]["schemas"]
    parts += [_schema(name, schemas[name]) for name in sorted(schemas)]
    return joined(*parts)


class _Operation:
    """One method of one path, and what the document says about it."""

    def __init__(self, path: str, method: str, content: Json) -> None:
        self.path, self.method, self.content = path, method.upper(), content
        self.anchor = str(content["operationId"])
        self.parameters: Sequence[Json] = content.get("parameters", ())
        self.body: Json = content.get("requestBody", {}).get("content", {})


def _by_tag(document: Json) -> dict[str, list[_Operation]]:
    groups: dict[str, list[_Operation]] = {}
    for path, methods in document["paths"].items():
        for method, content in methods.items():
            tag = (content.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append(_Operation(path, method, content))
    return groups


def _index(tag: str, operations: Sequence[_Operation]) -> Markup:
    links = (element("a", _title(operation), href=f"#{operation.anchor}") for operation in operations)
    return joined(element("strong", tag), element("ul", *(element("li", link) for link in links)))


def _shared_answers(operations: Sequence[_Operation]) -> dict[str, Json]:
    """The answers by status that most operations have alike. They are told once."""
    shared: dict[str, Json] = {}
    all_answers = [operation.content["responses"] for operation in operations]
    for status in sorted({status for answers in all_answers for status in answers}):
        texts = Counter(answers[status].get("description", "") for answers in all_answers if status in answers)
        description, count = texts.most_common(1)[0]
        if status >= "4" and 2 * count > len(operations):
            shared[status] = next(
                answers[status]
                for answers in all_answers
                if status in answers and answers[status].get("description", "") == description
            )
    return shared


def _answers(answers: Mapping[str, Json]) -> Markup:
    rows: list[tuple[str, ...]] = [
        (element("code", status), answer.get("description", ""), _contents(answer.get("content", {})))
        for status, answer in answers.items()
    ]
    return table(("status", "", "body"), rows)


def _title(operation: _Operation) -> Markup:
    return element("code", element("span", operation.method, class_="method"), operation.path)


def _operation(operation: _Operation, document: Json, origin: str, shared: Mapping[str, Json]) -> Markup:
    content = operation.content
    parameters: list[tuple[str, ...]] = [
        (
            element("code", parameter["name"]),
            parameter["in"] + (", required" if parameter.get("required") else ""),
            _type(parameter["schema"]),
            parameter.get("description", ""),
        )
        for parameter in operation.parameters
    ]
    bodies: list[tuple[str, ...]] = [
        (element("code", kind), _type(media.get("schema", {}))) for kind, media in operation.body.items()
    ]
    answers = {
        status: answer for status, answer in sorted(content["responses"].items()) if answer != shared.get(status)
    }
    return element(
        "section",
        element("h3", _title(operation)),
        element("p", content.get("description", "")),
        table(("parameter", "in", "type", ""), parameters),
        table(("body", ""), bodies),
        element("pre", _command(operation, document, origin)),
        _answers(answers),
        id=operation.anchor,
    )


def _contents(content: Json) -> Markup:
    pieces = []
    for kind, media in content.items():
        schema = media.get("schema", {})
        pieces.append(_type(schema) if "$ref" in schema else element("code", kind))
    return joined(*_between(pieces, ", "))


def _command(operation: _Operation, document: Json, origin: str) -> str:
    """The operation as a command for a terminal, with the examples of the document."""
    path = operation.path
    query = {
        parameter["name"]: _example(parameter, document)
        for parameter in operation.parameters
        if parameter["in"] == "query" and parameter.get("required")
    }
    for parameter in operation.parameters:
        if parameter["in"] == "path":
            path = re.sub(rf"\{{{parameter['name']}(:path)?\}}", str(_example(parameter, document)), path)
    implied = "POST" if operation.body else "GET"  # by what else stands in the command
    words = ["curl", _how_to_receive(operation)] + ([] if operation.method == implied else ["-X", operation.method])
    words.append(shlex.quote(f"{origin}{path}{'?' if query else ''}{urlencode(query)}"))
    if "application/json" in operation.body:
        example = json.dumps(_example(operation.body["application/json"]["schema"], document))
        words += ["-H", shlex.quote("Content-Type: application/json"), "-d", shlex.quote(example)]
    elif operation.body:
        form = "multipart/form-data" in operation.body
        words += ["-F", "file=@song.wav"] if form else ["--data-binary", "@song.wav"]
    return " ".join(words)


def _how_to_receive(operation: _Operation) -> str:
    """Options of curl: a file is saved under its name, and events are shown as they come."""
    responses = operation.content.get("responses", {})
    kinds = responses.get("200", {}).get("content", {})
    if "text/event-stream" in kinds:
        return "-sN"
    return "-sOJ" if FILE in kinds else "-s"


def _example(part: Json, document: Json) -> Any:
    """The example of a parameter or a schema."""
    schema = part.get("schema", part)
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    examples = part.get("examples") or schema.get("examples") or [part.get("example", "")]
    if isinstance(examples, Mapping):
        return next(iter(examples.values()))["value"]
    return examples[0]


def _schema(name: str, schema: Json) -> Markup:
    required = schema.get("required", ())
    rows: list[tuple[str, ...]] = [
        (
            element("code", field),
            _type(content) + (Markup(", required") if field in required else Markup("")),
            content.get("description", ""),
        )
        for field, content in schema.get("properties", {}).items()
    ]
    about = element("p", schema.get("description", ""))
    values = element("p", "One of ", element("code", ", ".join(map(str, schema["enum"])))) if "enum" in schema else ""
    heading = element("h3", element("code", name))
    return element("section", heading, about, values, table(("field", "type", ""), rows), id=f"schema-{name}")


def _type(schema: Json) -> Markup:
    """A schema in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return element("a", name, href=f"#schema-{name}")
    for keyword in ("anyOf", "oneOf", "allOf"):
        if keyword in schema:
            return joined(*_between([_type(part) for part in schema[keyword]], " or "))
    if "enum" in schema:
        return element("code", " | ".join(map(str, schema["enum"])))
    kind = str(schema.get("format") or schema.get("type", "any"))
    if kind == "array":
        return joined("list of ", _type(schema.get("items", {})))
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return joined("object of ", _type(schema["additionalProperties"]))
    return joined(", ".join([kind, *_bounds(schema)]))


def _bounds(schema: Json) -> Iterator[str]:
    for keyword, words in BOUNDS.items():
        if keyword == "minLength" and schema.get(keyword) == 1:
            yield "not empty"
        elif schema.get(keyword) is not None:
            yield words.format(json.dumps(schema[keyword]))


def _between(pieces: Sequence[Markup], separator: str) -> Iterator[str]:
    for position, piece in enumerate(pieces):
        yield from (separator, piece) if position else (piece,)
