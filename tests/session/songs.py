"""Graphs and inputs that the tests of sessions share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from acestep_flows.graph.execution.events import Event
from tests.stages.material import tone

WORDS: dict[str, Any] = {"tags": "pop, drums", "lyrics": "[verse]\nhello"}
SONG: dict[str, Any] = {**WORDS, "duration": 1, "steps": 2, "seed": 7}
LONG: dict[str, Any] = {**WORDS, "duration": 30, "steps": 200, "seed": 1}
SOURCE = tone(1.0)
DECODE = """
graph: my-decode
version: 1
inputs: {latents: {type: latents}}
nodes:
  mel: {stage: decode_latents, with: {latents: $latents}}
  song: {stage: vocode, with: {mel: $mel}}
outputs: {audio: $song.audio}
"""
NESTING = """
graph: nesting
version: 1
nodes: {inner: {graph: text2music, with: {tags: pop, duration: 1, steps: 1}}}
outputs: {audio: $inner.audio}
"""
CLASHING = """
graph: clashing
version: 1
inputs: {cache: {type: text}, progress: {type: bool, default: false}, source: {type: audio}}
nodes: {cut: {stage: trim, with: {audio: $source, span: [0, 0.5]}}}
outputs: {audio: $cut.audio, cache: $cache, progress: $progress}
"""


def when_sampling(act: Callable[[], object]) -> Callable[[Event], None]:
    """A progress callback that acts once, at the first step of sampling."""
    done = threading.Event()

    def hear(event: Event) -> None:
        if event.type == "progress" and not done.is_set():
            done.set()
            act()

    return hear
