"""Bodies of responses about the model, and what to begin with."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from acestep_flows.api.http import examples
from acestep_flows.api.http.response_schemas import GraphDetail, GraphEntry
from acestep_flows.api.http.schema_base import Model, with_examples

_PRESET = {"name": "House", "tags": "house, synth bass, synth pad, drums", "model": None}
_EXAMPLE = {
    "name": "Last tram",
    "graph": "text2music",
    "language": "en",
    "inputs": {"tags": "folk, guitar", "lyrics": ""},
}
_MODEL = {
    "name": "acestep-nano-1",
    "notes": ["a demonstration model: it does not sing words, and keeps the tempo in the tags loosely"],
    "sampling": {"guidance": "cfg", "guidance_scale": 3.0, "steps": 60},
}


class ModelDescription(Model):
    """The model of this server."""

    model_config = with_examples(_MODEL)

    name: str = Field(description="As in recipes.")
    notes: list[str] = Field(description="What people should know before they use it.")
    sampling: dict[str, Any] = Field(description="What the model takes for each sampling option that a run leaves out.")


class CatalogEntry(Model):
    """An adapter or a control branch that is installed."""

    model_config = with_examples({"name": "lyric2vocal"})

    name: str


class AdapterList(Model):
    """The adapters that the input `adapter` may name."""

    model_config = with_examples({"adapters": [{"name": "lyric2vocal"}]})

    adapters: list[CatalogEntry]


class ControlList(Model):
    """The control branches that are installed."""

    model_config = with_examples({"controls": [{"name": "stemgen"}]})

    controls: list[CatalogEntry]


class Preset(Model):
    """Tags to begin with."""

    model_config = with_examples(_PRESET)

    name: str
    tags: str
    model: str | None = Field(None, description="The model whose words these are; null for any.")


class PresetList(Model):
    """Presets for the input `tags`."""

    model_config = with_examples({"presets": [_PRESET]})

    presets: list[Preset]


class Example(Model):
    """A song to begin with: a graph and its inputs."""

    model_config = with_examples(_EXAMPLE)

    name: str
    graph: str
    language: str = Field(description="Of the lyrics, as a code such as en; empty without words.")
    inputs: dict[str, Any]


class ExampleList(Model):
    """Songs to begin with."""

    model_config = with_examples({"examples": [_EXAMPLE]})

    examples: list[Example]


class Catalog(Model):
    """All that a form offers."""

    model_config = with_examples(
        {
            "caller": "alice",
            "model": _MODEL,
            "graphs": [examples.ENTRY],
            "graph": examples.DETAIL,
            "adapters": [{"name": "lyric2vocal"}],
            "controls": [{"name": "stemgen"}],
            "presets": [_PRESET],
            "examples": [_EXAMPLE],
        }
    )

    caller: str | None = Field(description="Name of the caller's key; null on a server without keys.")
    model: ModelDescription
    graphs: list[GraphEntry]
    graph: GraphDetail | None = Field(None, description="The graph that was asked for.")
    adapters: list[CatalogEntry]
    controls: list[CatalogEntry]
    presets: list[Preset]
    examples: list[Example]
