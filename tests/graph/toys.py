"""Small stages with the ports of the real ones, and graphs written in a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from acestep_flows.errors import NotFound, Problem
from acestep_flows.graph.checking.check import check
from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.language.syntax import Graph
from acestep_flows.stages.contract import Stage, StageParams
from acestep_flows.stages.ports import Seed
from acestep_flows.values import Audio, Latents, LyricStates, Noise, PromptStates, Report, Span


class Prompt(Stage):
    """Tags to a prompt."""

    name, version = "prompt", 1

    class Params(StageParams):
        tags: str = Field(description="Tags.")

    @dataclass(frozen=True)
    class Out:
        prompt: PromptStates


class Words(Stage):
    """Lyrics to states."""

    name, version = "words", 1

    class Params(StageParams):
        lyrics: str = ""

    @dataclass(frozen=True)
    class Out:
        lyrics: LyricStates


class Draw(Stage):
    """A seed to noise."""

    name, version = "draw", 1

    class Params(StageParams):
        seed: Seed
        duration: float = Field(30.0, gt=0, le=240)

    @dataclass(frozen=True)
    class Out:
        noise: Noise


class Sing(Stage):
    """Noise to latents."""

    name, version = "sing", 1

    @dataclass(frozen=True)
    class In:
        prompt: PromptStates
        noise: Noise
        lyrics: LyricStates | None = None

    class Params(StageParams):
        steps: int = Field(60, ge=1, le=200)
        solver: Literal["euler", "heun"] = "euler"
        interval: tuple[float, float] | None = None

    @dataclass(frozen=True)
    class Out:
        latents: Latents
        report: Report


class Paint(Stage):
    """Latents changed inside a span."""

    name, version = "paint", 1

    @dataclass(frozen=True)
    class In:
        source: Latents
        span: Span | None = None

    class Params(StageParams):
        strength: float = Field(0.5, ge=0, le=1)
        label: str = ""
        voice: str | None = Field(None, json_schema_extra={"format": "path"})

    @dataclass(frozen=True)
    class Out:
        latents: Latents
        report: Report


class Sound(Stage):
    """Latents to audio."""

    name, version = "sound", 1

    @dataclass(frozen=True)
    class In:
        latents: Latents

    @dataclass(frozen=True)
    class Out:
        audio: Audio


class Blend(Stage):
    """Several tracks to one."""

    name, version = "blend", 1

    @dataclass(frozen=True)
    class In:
        tracks: list[Audio]

    class Params(StageParams):
        gains: list[float] = Field(default_factory=list)

    @dataclass(frozen=True)
    class Out:
        audio: Audio


class Split(Stage):
    """One track to several; how many is known only during the run. Also says whether it is loud."""

    name, version = "split", 1

    @dataclass(frozen=True)
    class In:
        audio: Audio

    @dataclass(frozen=True)
    class Out:
        tracks: list[Audio]
        loud: bool


REGISTRY: Mapping[str, type[Stage]] = {
    stage.name: stage for stage in (Prompt, Words, Draw, Sing, Paint, Sound, Blend, Split)
}

SONG = """\
graph: song
version: 1
inputs:
  tags: {type: text}
  seed: {type: seed, default: random}
  steps: {type: int, default: 60, minimum: 1, maximum: 100}
nodes:
  mood: {stage: prompt, with: {tags: $tags}}
  noise: {stage: draw, with: {seed: $seed}}
  take: {stage: sing, with: {prompt: $mood, noise: $noise, steps: $steps}}
  track: {stage: sound, with: {latents: $take.latents}}
outputs: {audio: $track.audio, latents: $take.latents}
"""


def shelf(**texts: str) -> Any:
    """A `find` over graphs written in the test; `a_b` is the graph `a-b`."""
    graphs = {name.replace("_", "-"): parse(text, f"{name}.yaml") for name, text in texts.items()}

    def find(name: str, asking: Graph) -> Graph:
        if name not in graphs:
            raise NotFound(f"no graph {name!r}; allowed: {', '.join(graphs)}")
        return graphs[name]

    return find


def problems(text: str | bytes, **nested: str) -> list[Problem]:
    """What checking `text` finds."""
    return check(parse(text, "g.yaml"), REGISTRY, shelf(**nested))


def messages(text: str | bytes, **nested: str) -> list[str]:
    return [str(problem) for problem in problems(text, **nested)]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
