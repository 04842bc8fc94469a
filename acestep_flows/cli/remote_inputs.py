"""Graph inputs from the command line for a run on a server: local files are uploaded, files of the server named.

Where a graph wants audio or latents, `NAME=song.wav` uploads a file, `NAME=asset-...` names an asset, and
`NAME=run-.../latents` names the output of a run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from acestep_flows.errors import InputError
from acestep_flows.graph.language.syntax import Graph
from acestep_flows.graph.language.types import Declaration
from acestep_flows.input_reader import InputReader
from acestep_flows.stages.ports import PortType
from acestep_flows.values import MUSIC, Value
from acestep_flows.wording.missing_output import no_output
from acestep_flows.wording.places import is_url
from acestep_flows.wording.text_file import expanded

if TYPE_CHECKING:
    from acestep_flows.client import Client

_ASSET = re.compile(r"asset-[0-9a-f]{26}")
_OUTPUT = re.compile(r"(run-[0-9a-f]{26})/(.+)")
_ID_LIKE = re.compile(r"asset-[^/]*|run-[^/]*/.+")
_SCALARS = {"string": "text", "integer": "int", "number": "float", "boolean": "bool"}


class RemoteReader(InputReader):
    """Reads inputs for a server. A file that is named twice is uploaded once."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client
        self._uploaded: dict[str, str] = {}

    def value(self, path: str, kind: str, name: str) -> Any:
        """The id of an asset."""
        if _ASSET.fullmatch(path) or is_url(path):
            return path  # the server knows the URLs of its assets, and says what to do with others
        if (match := _OUTPUT.fullmatch(path)) is not None:
            run, output = self._client.status(match[1]), match[2]
            if output not in run.outputs:
                raise no_output(run.id, output, run.outputs, run.state, run.reason, where=name)
            return run.outputs[output].asset
        if _ID_LIKE.fullmatch(path) and not expanded(path, name).exists():
            allowed = "the id of an asset, RUN/OUTPUT with the id of a run, or a file"
            raise InputError(f"{path!r} has no id in it", where=name, allowed=allowed)
        if path not in self._uploaded:
            self._uploaded[path] = self._client.upload_asset(expanded(path, name)).id
        return self._uploaded[path]


def graph_in(name: str, schema: Mapping[str, Any]) -> Graph:
    """The inputs of a graph as far as the JSON Schema tells that a server gives of them; the graph has no nodes."""
    required = set(schema.get("required", ()))
    inputs = {one: _declared(one, part, required=one in required) for one, part in schema.get("properties", {}).items()}
    return Graph(name, "the server's graph", inputs=inputs)


def _declared(name: str, schema: Mapping[str, Any], *, required: bool) -> Declaration:
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    bounds = {**schema, **next((option for option in options if "const" not in option), {})}
    return Declaration(
        name,
        _type(schema),
        required=required,
        default=schema.get("default"),
        minimum=bounds.get("minimum"),
        maximum=bounds.get("maximum"),
        choices=tuple(bounds.get("enum", ())),
        unit=str(schema.get("x-unit") or ""),
        advanced=bool(schema.get("x-advanced")),
        similar=tuple(schema.get("x-similar", ())),
        description=str(schema.get("description") or ""),
    )


def types_in(schema: Mapping[str, Any]) -> dict[str, PortType]:
    """The types of a graph's inputs, from the JSON Schema that a server gives of them."""
    return {name: _type(part) for name, part in schema.get("properties", {}).items()}


def _type(schema: Mapping[str, Any]) -> PortType:
    """The type of one input, by its `x-type`; parts of lists and records have none, so by the shape of their schema."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    optional = {"type": "null"} in schema.get("anyOf", ())
    kind = str(schema.get("x-type", "")).removesuffix(" or nothing")
    if optional and len(options) == 1:
        inner = _type({**options[0], "x-type": kind} if kind else options[0])
        return PortType(inner.kind, inner.item, inner.fields, optional=True)
    if schema.get("type") == "array" and "items" in schema and "prefixItems" not in schema:
        return PortType("list", _type(schema["items"]), optional=optional)
    if schema.get("type") == "object":
        return PortType("record", fields=tuple(types_in(schema).items()), optional=optional)
    if kind in Value.kinds or kind in (MUSIC, "text", "int", "float", "bool", "seed", "any"):
        return PortType(kind, optional=optional)
    if schema.get("format") == "asset":
        return PortType("audio")
    if "oneOf" in schema:
        return PortType("span")
    return PortType("seed" if options else _SCALARS.get(str(schema.get("type")), "any"))
