"""Previews of one run made audible: what a song would be by now, decoded, as a WAV file in the store.

Of each node the latest alone is kept, one is made at a time, and what comes meanwhile takes the place of what waits:
so previews cost a song what decoding it costs, never more than the time there is. They are computed by the stages that
decode songs, in their own calls: the song's numbers are not touched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor as Threads
from dataclasses import dataclass
from typing import Any

from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import Lease
from acestep_flows.graph.content import Content
from acestep_flows.graph.execution.result import SongPreview
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.values import Audio, Latents, frames_from_seconds

log = logging.getLogger(__name__)

LONGEST = 60.0
"""Seconds of a song that its previews let one hear, from its start."""

Tell = Callable[[SongPreview, Mapping[str, Any]], None]


class PreviewMaker:
    """Makes the previews of one run. On the event loop; decoding is the runner's, files are written in `threads`.

    Args:
        lease: on the run.
        threads: where encoding and the store may block.
        tell: told of each preview that there is now, and of what the event says beside its node and step.
        seconds: of a song that can be heard.
    """

    def __init__(
        self, home: Home, scheduler: Scheduler, lease: Lease, threads: Threads, tell: Tell, seconds: float = LONGEST
    ) -> None:
        self._home, self._scheduler, self._lease, self._threads = home, scheduler, lease, threads
        self._tell, self._frames = tell, max(1, frames_from_seconds(seconds))
        self._waiting: dict[str, SongPreview] = {}
        self._working: asyncio.Task[None] | None = None

    def take(self, preview: SongPreview) -> None:
        """Make a preview as soon as those before it are made."""
        self._waiting[preview.node] = preview
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Make no more of them; returns when nothing works any more."""
        self._waiting.clear()
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait([self._working])

    async def _work(self) -> None:
        while self._waiting:
            preview = self._waiting.pop(next(iter(self._waiting)))
            try:
                audio = await self._decoded(preview.latents)
                kept = await asyncio.get_running_loop().run_in_executor(self._threads, self._keep, preview, audio)
            except Exception as error:  # noqa: BLE001 - whatever breaks, breaks this preview and no song
                log.warning("a preview of run %s: %r", self._lease.run, error)
                continue
            if kept is not None:
                self._tell(preview, kept)

    async def _decoded(self, latents: Latents) -> Audio:
        runner = self._scheduler.runner
        heard = Latents(latents.array[..., : self._frames].copy())
        mel = await self._called("decode_latents", {"latents": await runner.hold(heard)})
        song = await self._called("vocode", {"mel": mel["mel"], "like": None})
        audio: Audio = await runner.fetch(song["audio"])
        return audio

    async def _called(self, name: str, inputs: Mapping[str, Content]) -> Mapping[str, Content]:
        stage = self._scheduler.stage(name)
        return (await self._scheduler.runner.call(StageCall(stage, inputs, stage.Params()), _Unheard())).outputs

    def _keep(self, preview: SongPreview, audio: Audio) -> Mapping[str, Any] | None:
        """Blocks. None where the run is another executor's by now."""
        from acestep_flows.audio import write
        from acestep_flows.audio.formats import FORMATS
        from acestep_flows.audio.tags import Tags

        title = f"{self._lease.run} {preview.node}, step {preview.step} of {preview.steps}"  # no two files are the same
        content, _ = write.encode(audio, FORMATS["wav"], subtype="pcm_16", tags=Tags(title=title))
        blob = self._home.artifacts.put(content)
        seconds = round(audio.seconds, 3)
        if not self._home.previews.put(self._lease, preview.node, preview.step, preview.steps, seconds, blob):
            return None
        return {"seconds": seconds, "bytes": blob.bytes}


@dataclass(frozen=True)
class _Unheard:
    """The progress of a preview is nobody's business."""

    def started(self) -> None:
        pass

    def step(self, done: int, total: int) -> None:
        pass

    def preview(self, done: int, total: int, latents: Latents) -> None:
        pass
