"""Makes the previews of one run: the unfinished song, decoded to a WAV file in the store.

Only the latest preview of a node is kept. One preview is made at a time, and a newer one replaces one that waits, so
previews never delay a song by more than decoding it costs. The decoding stages compute them in calls of their own, so
the song itself does not change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor as Threads
from typing import Any

from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import Lease
from acestep_flows.graph.content import Content
from acestep_flows.graph.execution.result import SongPreview
from acestep_flows.graph.execution.runner import IgnoreProgress
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.values import Audio, Latents, frames_from_seconds

log = logging.getLogger(__name__)

LONGEST = 60.0
"""Default length of previews in seconds, from the start of the song."""

OnStored = Callable[[SongPreview, Mapping[str, Any]], None]


class PreviewMaker:
    """Makes the previews of one run. It lives on the event loop; the runner decodes, and `threads` write files.

    Args:
        lease: lease on the run.
        threads: pool for encoding and for the store, which block.
        on_stored: called for each stored preview, with the fields that its event adds.
        seconds: length of a preview.
    """

    def __init__(
        self,
        home: Home,
        scheduler: Scheduler,
        lease: Lease,
        threads: Threads,
        on_stored: OnStored,
        seconds: float = LONGEST,
    ) -> None:
        self._home, self._scheduler, self._lease, self._threads = home, scheduler, lease, threads
        self._on_stored, self._frames = on_stored, max(1, frames_from_seconds(seconds))
        self._pending: dict[str, SongPreview] = {}
        self._task: asyncio.Task[None] | None = None

    def take(self, preview: SongPreview) -> None:
        """Make a preview after those that are being made. It replaces one of the same node that waits."""
        self._pending[preview.node] = preview
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._make_pending())

    async def close(self) -> None:
        """Stop making previews, and wait for the one that is being made."""
        self._pending.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _make_pending(self) -> None:
        while self._pending:
            preview = self._pending.pop(next(iter(self._pending)))
            try:
                audio = await self._decode(preview.latents)
                fields = await asyncio.get_running_loop().run_in_executor(self._threads, self._store, preview, audio)
            except Exception as error:  # noqa: BLE001 - a failure must not affect the song
                log.warning("run %s: a preview failed: %r", self._lease.run, error)
                continue
            if fields is not None:
                self._on_stored(preview, fields)

    async def _decode(self, latents: Latents) -> Audio:
        runner = self._scheduler.runner
        start = Latents(latents.array[..., : self._frames].copy())
        mel = await self._compute("decode_latents", {"latents": await runner.hold(start)})
        song = await self._compute("vocode", {"mel": mel["mel"], "like": None})
        audio: Audio = await runner.fetch(song["audio"])
        return audio

    async def _compute(self, name: str, inputs: Mapping[str, Content]) -> Mapping[str, Content]:
        stage = self._scheduler.stage(name)
        return (await self._scheduler.runner.call(StageCall(stage, inputs, stage.Params()), IgnoreProgress())).outputs

    def _store(self, preview: SongPreview, audio: Audio) -> Mapping[str, Any] | None:
        """Encode and store a preview. Blocks. Returns the fields of its event; None if the lease is lost."""
        from acestep_flows.audio import write
        from acestep_flows.audio.formats import FORMATS
        from acestep_flows.audio.tags import Tags

        # The title makes every file unique, so that no two previews share a digest.
        title = f"{self._lease.run} {preview.node}, step {preview.step} of {preview.steps}"
        content = write.encode(audio, FORMATS["wav"], subtype="pcm_16", tags=Tags(title=title)).content
        blob = self._home.artifacts.put(content)
        seconds = round(audio.seconds, 3)
        if not self._home.previews.put(self._lease, preview.node, preview.step, preview.steps, seconds, blob):
            return None
        return {"seconds": seconds, "bytes": blob.bytes}
