"""Bodies of requests. Unknown fields are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PrivateAttr, Strict

from acestep_flows.api.execution.webhook_url import LONGEST_URL
from acestep_flows.api.http import examples
from acestep_flows.api.http.schema_base import AudioFormat, JsonObject, Model, Text, check_json, with_examples
from acestep_flows.api.http.validation_faults import refused
from acestep_flows.api.store.runs import HIGHEST_PRIORITY, LONGEST_KEY
from acestep_flows.graph.execution.cache import Mode
from acestep_flows.graph.language.wording import show

LONGEST_DEADLINE = 7 * 24 * 3600.0


class Webhook(Model):
    """The address to call when the run has ended."""

    url: Text = Field(
        max_length=LONGEST_URL,
        description="An http or https URL at a public address.",
        examples=["https://a.example/h"],
    )
    _alone: bool = PrivateAttr(False)

    @classmethod
    def alone(cls, url: str) -> Webhook:
        """The webhook of a request that gave the URL in place of an object.

        Raises:
            PydanticCustomError: the URL is too long, or no database can store it.
        """
        if len(url) > LONGEST_URL:
            raise refused(f"{len(url)} characters", f"at most {LONGEST_URL} characters")
        webhook = cls.model_construct(url=check_json(url))
        webhook._alone = True
        return webhook

    @property
    def url_field(self) -> str:
        """The field of the request that has the URL."""
        return "webhook" if self._alone else "webhook.url"


WebhookUrl = Annotated[
    str, Field(max_length=LONGEST_URL, description="The URL alone.", examples=["https://a.example/h"])
]


def _webhook(content: Any) -> Any:
    """A webhook as an object: a text is its URL."""
    if isinstance(content, str):
        return Webhook.alone(content)
    if content is not None and not isinstance(content, (Mapping, Webhook)):
        raise refused(show(content), 'a URL, or an object with "url"')
    return content


class RunOptions(Model):
    """Options of a run, besides its inputs."""

    priority: Annotated[int, Strict()] = Field(
        0,
        ge=-HIGHEST_PRIORITY,
        le=HIGHEST_PRIORITY,
        description="Each step counts as one minute that the run has already waited.",
    )
    deadline: Annotated[float, Strict()] | None = Field(
        None,
        gt=0,
        le=LONGEST_DEADLINE,
        description="Seconds from the submission until the run is stopped, queued or running.",
    )
    cache: Mode = Field("use", description="'use' cached results, 'refresh' them, or leave the cache 'off'.")
    format: AudioFormat = Field("flac", description="Format of audio outputs.")
    preview_every: Annotated[int, Strict()] | None = Field(
        None,
        ge=1,
        le=1000,
        description="Steps between previews of nodes that sample. Previews do not change the song. An event 'preview' "
        "announces each one. Nodes found in the cache have none.",
    )
    labels: dict[Text, Text] = Field(
        {},
        description="Up to 16 short texts by name, such as title, note, star or session. `parent` is filled in where "
        "an input is an output of another run.",
    )
    webhook: Annotated[
        Webhook | None, BeforeValidator(_webhook, json_schema_input_type=WebhookUrl | Webhook | None)
    ] = Field(None, description="Called when the run has ended: a URL, or an object with one.")
    idempotency_key: Text | None = Field(
        None,
        min_length=1,
        max_length=LONGEST_KEY,
        description="A request that is repeated with the same key returns the same run. Also a header, "
        "Idempotency-Key.",
    )


class RunRequest(RunOptions):
    """A run to submit."""

    model_config = with_examples({"graph": "text2music", "inputs": examples.SONG, "priority": 5, "preview_every": 10})

    graph: Text | JsonObject = Field(
        description="The name of a graph; or a graph of your own as JSON, where the server allows it."
    )
    inputs: JsonObject = Field(
        {}, description="Inputs by name, as in the graph's schema. Audio, latents and other values are asset ids."
    )


class RenderRequest(RunOptions):
    """A run whose output the request waits for."""

    model_config = with_examples({"inputs": examples.SONG, "format": "mp3"})

    inputs: JsonObject = Field({}, description="Inputs by name, as in the graph's schema.")
    output: Text | None = Field(
        None, max_length=200, description="Name of the output to return; by default the first audio."
    )
    timeout: Annotated[float, Strict()] = Field(
        120, gt=0, le=3600, description="Seconds to wait. The server may wait for less."
    )


class PlanRequest(Model):
    """Inputs of a dry run."""

    model_config = with_examples({"inputs": examples.SONG})

    inputs: JsonObject = Field({}, description="Inputs by name, as in the graph's schema.")


class CheckRequest(Model):
    """A graph to check."""

    model_config = with_examples({"graph": examples.INLINE})

    graph: Text | JsonObject = Field(description="The graph as YAML text or as JSON. Problems name lines of YAML.")
