"""Path parameters, headers and OpenAPI responses that several routes declare."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from fastapi import Header, Path, Query

from acestep_flows.api.http import examples
from acestep_flows.api.http.ranges import Disposition
from acestep_flows.api.http.response_schemas import Failure
from acestep_flows.api.http.schema_base import ASSET_ID, RUN_ID, AudioFormat
from acestep_flows.api.http.uploads import CONTENT_TYPES
from acestep_flows.api.store.runs import LONGEST_KEY

Responses: TypeAlias = dict[int | str, dict[str, Any]]


def _segment(description: str, example: str, **schema: Any) -> Any:
    """A segment of a path. The schema is for the document only: a text of another form is not found, like any other."""
    return Path(description=description, examples=[example], json_schema_extra=schema)


GraphName = Annotated[str, _segment("The name of a graph.", "text2music", maxLength=200)]
RunId = Annotated[str, _segment("The id of a run.", examples.RUN, pattern=RUN_ID)]
AssetId = Annotated[str, _segment("The id of an asset.", examples.ASSET, pattern=ASSET_ID)]
OutputName = Annotated[str, _segment("The name of an output.", "audio", maxLength=400)]
NodeId = Annotated[str, _segment("The id of a node.", "take", maxLength=400)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=LONGEST_KEY,
        description="The same as idempotency_key in the body.",
        examples=["night-bus-take-3"],
    ),
]
FormatQuery = Annotated[
    AudioFormat | None,
    Query(description="Audio in another format, encoded anew with its tags.", examples=["mp3"]),
]
DispositionQuery = Annotated[
    Disposition, Query(description="Whether a browser saves the file or shows it.", examples=["inline"])
]

NO_GRAPH: Responses = {404: {"model": Failure, "description": "There is no such graph."}}
NO_RUN: Responses = {404: {"model": Failure, "description": "There is no such run of this caller."}}
NO_ASSET: Responses = {404: {"model": Failure, "description": "There is no such asset of this caller."}}
NOT_ACCEPTED: Responses = {
    409: {"model": Failure, "description": "The idempotency key was used for another request."},
    503: {
        "model": Failure,
        "description": "The queue is full, or the server is ending; Retry-After says when to try again.",
    },
}
IN_USE: Responses = {409: {"model": Failure, "description": "An unfinished run still needs it."}}
BINARY = {"schema": {"type": "string", "format": "binary"}}
OCTETS = "application/octet-stream"
REPORT_FILE = {"description": "A report or a recipe.", "examples": [{"peak": -1.2}]}


def binary(*media_types: str) -> dict[str, Any]:
    """The content of a response that is a file. Plain bytes come first: generated clients take the first type that they
    know, and leave a response out if they know none."""
    return {"content": dict.fromkeys((OCTETS, *media_types), BINARY)}


_ANY_FILE = binary(*CONTENT_TYPES.values())["content"] | {"application/json": {"schema": REPORT_FILE}}
FILE: Responses = {
    200: {"content": _ANY_FILE, "description": "The file."},
    206: {"content": _ANY_FILE, "description": "The requested range of the file."},
    304: {"description": "The file has not changed."},
    416: {"description": "The file has no such range."},
}

LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        max_length=20,
        description="The same as 'after'. Browsers send it when they reconnect.",
        examples=["12"],
    ),
]
"""The event after which a stream goes on."""
