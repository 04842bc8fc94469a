"""The recipe: what an output was made from, complete enough to make it again and to compare the two.

It stands in a JSON file beside the output and in the tags of the audio file. JSON inputs and values without arrays (a
span) are in it whole. Other values are in it by digest, with the path the user gave where there was one.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acestep_flows import __version__
from acestep_flows.audio.tags import AI_STATEMENT
from acestep_flows.errors import InputError
from acestep_flows.graph.content import Handle, fingerprint, leaves, sha256
from acestep_flows.graph.execution.result import NodeResult, Result
from acestep_flows.values import Value, pack, unpack
from acestep_flows.wording.faults import data_faults

SCHEMA = 1
PACKAGES = ("torch", "numpy", "transformers", "diffusers")
"""Libraries whose version may show in a result."""


class RecipePart(BaseModel):
    """Base of the parts of a recipe. Unknown fields are passed over: a later version, or the door, may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class GraphPart(RecipePart):
    """The graph, nested graphs included, as the reader's canonical content."""

    name: str
    digest: str
    content: Any = None


class NodePart(RecipePart):
    """One node: what its outputs depended on, and what they were. A node that was skipped has no key."""

    id: str
    stage: str
    key: str = ""
    version: int = 0
    weights: tuple[str, ...] = ()
    params: str = Field("", description="sha256 of the parameters, defaults filled in.")
    inputs: Mapping[str, Any] = Field({}, description="Fingerprints by port.")
    numerics: str = ""
    outputs: Mapping[str, Any] = Field({}, description="Fingerprints by port.")
    source: str = "computed"
    seconds: float = 0.0


class Recipe(RecipePart):
    """All of it."""

    version: int = Field(SCHEMA, alias="recipe")
    statement: str = AI_STATEMENT
    created: str = ""
    graph: GraphPart
    inputs: Mapping[str, Any] = Field({}, description="JSON, maps wrapped as {map: ...}, values as {value: [...]}.")
    files: Mapping[str, str] = Field({}, description="Digest of an input value to the path the user gave.")
    sources: Mapping[str, str] = Field({}, description="The same, with the path from the folder of the recipe.")
    folder: str = Field("", description="The folder that paths were given from. Never in the tags of audio.")
    seeds: Mapping[str, Any] = Field({}, description="Every seed in use, by node and parameter.")
    model: str = Field("", description="What the weights are called.")
    weights: str = Field("", description="sha256 over the digests of all weights in use.")
    versions: Mapping[str, str] = {}
    nodes: tuple[NodePart, ...] = ()
    outputs: Mapping[str, Any] = Field({}, description="Fingerprints by output name.")
    notes: tuple[str, ...] = Field((), description="What was told of tags and lyrics, here and in the songs before.")
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The recipe as JSON."""
        content = self.model_dump(mode="json", by_alias=True)
        return {name: part for name, part in content.items() if part or name not in ("sources", "folder", "notes")}


def recipe(
    result: Result,
    content: Any,
    files: Mapping[str, str] | None = None,
    model: str = "",
    notes: Sequence[str] = (),
) -> Recipe:
    """The recipe of a run.

    Args:
        content: the graph's canonical content, nested graphs included, from which it can be planned again.
        files: for input values that came from files, digest to path as given.
        model: what to call the weights.
        notes: what was told of tags and lyrics; edits of the song do not tell it again.
    """
    plan = result.plan
    digests = {leaf.digest for leaf in leaves(plan.inputs) if isinstance(leaf, (Handle, Value))}
    weights = sorted({digest for node in result.nodes.values() if node.cache_key for digest in node.cache_key.weights})
    return Recipe(
        recipe=SCHEMA,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        graph=GraphPart(name=plan.graph, digest=plan.digest, content=content),
        inputs={name: _input_json(value) for name, value in plan.inputs.items()},
        files={digest: path for digest, path in (files or {}).items() if digest in digests},
        seeds={f"{node.id}.{name}": seed for node in result.nodes.values() for name, seed in node.seeds.items()},
        model=model,
        weights=sha256(weights),
        versions=dict(_versions()),
        nodes=tuple(_node(node) for node in result.nodes.values()),
        outputs={name: fingerprint(value) for name, value in result.outputs.items()},
        notes=tuple(notes),
        seconds=round(result.seconds, 3),
    )


def read_recipe(content: Any, where: str = "recipe") -> Recipe:
    """A recipe from JSON.

    Raises:
        InputError: the content is no recipe, or one of another version.
    """
    if not isinstance(content, Mapping) or "recipe" not in content:
        raise InputError("no recipe of acestep_flows", where=where, allowed="the JSON beside an output, or its tags")
    if content["recipe"] != SCHEMA:
        raise InputError(f"recipe version {content['recipe']!r}", where=where, allowed=str(SCHEMA))
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = data_faults(error, Recipe)[0]
        raise InputError(f"{first.where}: {first.what}", where=where, allowed=first.allowed) from None


def inputs_of(recipe: Recipe, find: Callable[[str, str, str], Any]) -> dict[str, Any]:
    """The inputs of the run that wrote the recipe.

    Args:
        find: takes a kind, a digest and the name of the input; gives the value that the recipe has only by digest, or
            what shall stand for it.

    Raises:
        InputError: an input is not readable, or what `find` raises.
    """
    return {name: _read(value, name, find) for name, value in recipe.inputs.items()}


def _input_json(content: Any) -> Any:
    """As `fingerprint`; values without arrays are written whole."""
    if isinstance(content, Handle):
        return fingerprint(content)
    if isinstance(content, Value):
        arrays, fields = pack(content)
        return fingerprint(content) if arrays else {**fingerprint(content), "fields": fields}
    if isinstance(content, Mapping):
        return {"map": {name: _input_json(part) for name, part in content.items()}}
    if isinstance(content, (list, tuple)):
        return [_input_json(part) for part in content]
    return content


def _read(content: Any, name: str, find: Callable[[str, str, str], Any]) -> Any:
    if isinstance(content, list):
        return [_read(part, f"{name}[{i}]", find) for i, part in enumerate(content)]
    if not isinstance(content, Mapping):
        return content
    match content:
        case {"map": Mapping() as parts}:
            return {key: _read(part, f"{name}.{key}", find) for key, part in parts.items()}
        case {"value": [str(kind), str()], "fields": Mapping() as fields}:
            return unpack(kind, {}, fields)
        case {"value": [str(kind), str(digest)]}:
            return find(kind, digest, name)
    raise InputError("not readable", where=f"recipe, input {name}")


def _node(node: NodeResult) -> NodePart:
    key = node.cache_key
    if key is None:
        return NodePart(id=node.id, stage=node.stage, source="skipped")
    return NodePart(
        id=node.id,
        stage=node.stage,
        key=key.digest,
        version=key.version,
        weights=key.weights,
        params=key.params,
        inputs=key.inputs,
        numerics=key.numerics,
        outputs=node.outputs,
        source=node.source,
        seconds=round(node.seconds, 4),
    )


@cache
def _versions() -> Mapping[str, str]:
    versions = {"acestep_flows": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
