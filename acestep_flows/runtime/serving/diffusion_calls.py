"""Diffusion calls of one process: songs share the step engine, and go on from where a killed process left them.

When there are more songs than the engine takes, they take turns: see `song_slots`. States that outlive the process:
see `saved_states`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from acestep_flows.errors import FlowsError, InputError, StageError, StorageError
from acestep_flows.graph.content import Outputs, outputs_of
from acestep_flows.graph.execution.cache_key import cache_key
from acestep_flows.graph.execution.runner import CallProgress, Reply
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.runtime.engine import StepEngine
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.runtime.serving.pool import EngineSection
from acestep_flows.runtime.serving.saved_states import SavedStates
from acestep_flows.runtime.serving.song_slots import Slot, SongSlots
from acestep_flows.sampling.recorded_passes import RecordedPasses
from acestep_flows.sampling.trajectory import State, Trajectory
from acestep_flows.stages.diffusion import DiffusionStage, preview_of

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(eq=False)
class _Song:
    """A diffusion call under way.

    Attributes:
        slot: its place in the engine.
        stop_at: the step at which it stops with its state saved; 0: it goes to its end.
    """

    call: StageCall
    key: str
    progress: CallProgress
    slot: Slot
    stop_at: int

    def stops(self, state: State) -> bool:
        return 0 < self.stop_at <= state.step


class DiffusionCalls:
    """Runs calls of diffusion stages together. Use it from one event loop.

    Args:
        runner: has the stages loaded.
        section: the engine's budget.
        states: where states of unfinished songs are saved; None: nowhere.
        lanes: forward passes side by side.
        share_below: frames from which on a song shares no pass; None: songs of any length share.
    """

    def __init__(
        self,
        runner: LocalRunner,
        section: EngineSection,
        states: SavedStates | None,
        *,
        lanes: int = 1,
        share_below: int | None = None,
    ) -> None:
        # On a CPU a turn and a call of another stage would only take the cores from each other.
        worker = runner.work if runner.placement.device == "cpu" else None
        on_gpu = runner.placement.device.startswith("cuda") and section.recordings_gb > 0
        self.engine = StepEngine(
            section.tokens,
            section.songs,
            padding=section.padding,
            lanes=lanes,
            share_below=share_below,
            worker=worker,
            recorded=RecordedPasses(int(section.recordings_gb * 1e9)) if on_gpu else None,
        )
        self._runner, self._states = runner, states
        self._save_every = 0 if states is None else section.save_every
        self._slots = SongSlots(section.songs)

    async def call(self, call: StageCall, progress: CallProgress, alone_until: int = 0) -> tuple[Reply | None, str]:
        """The reply, and the key under which a state may be saved: call `end` with it once the reply is delivered.

        Args:
            alone_until: the step at which the call stops with its state saved, where states are saved; its reply is
                then None. 0: it goes to its end.

        Raises:
            FlowsError: as the stage said, or StageError around any other exception.
        """
        with self._slots.song(call.run) as slot:
            try:
                key = await asyncio.to_thread(self._key, call)
                song = _Song(call, key, progress, slot, alone_until if self._save_every else 0)
                return await self._run_to_end(song), key
            except FlowsError:
                raise
            except Exception as error:
                raise StageError("", call.stage.name, error) from error

    async def end(self, key: str) -> None:
        """The call is over: remove its saved state."""
        if self._states is not None:
            await asyncio.to_thread(self._states.end, [key])

    async def _run_to_end(self, song: _Song) -> Reply | None:
        """Run the song to its end, waiting for a slot as often as needed.

        Between slots its conditions are freed from the device; its state is kept.
        """
        state: State | None = None
        seconds = 0.0
        while True:
            async with self._slots.sit(song.slot):
                if state is None:
                    song.progress.started()
                begun = time.perf_counter()
                reached = await self._in_slot(song, state)
                seconds += time.perf_counter() - begun
            if not isinstance(reached, State):
                return Reply(reached, seconds)
            state = reached
            if song.stops(state):
                await asyncio.to_thread(self._save, song.key, state)
                return None

    async def _in_slot(self, song: _Song, state: State | None) -> State | Outputs:
        """The outputs, or the state with which the song has to give up its slot."""
        call = song.call
        stage = await self._computed(self._runner.loaded, call.stage)
        assert isinstance(stage, DiffusionStage)
        item = call.item
        denoising = await self._computed(stage.song, item, call.params)
        trajectory, total = denoising.trajectory, denoising.trajectory.steps
        if state is None:
            state = await asyncio.to_thread(self._saved, song.key, trajectory)
            song.progress.step(0 if state is None else state.step, total)
        try:
            state = await self.engine.run(
                denoising,
                state=state,
                on_step=lambda state: song.progress.step(state.step, total),
                preview_every=call.preview_every,
                on_preview=lambda step, estimate: song.progress.preview(step, total, preview_of(estimate)),
                save_every=self._save_every,
                on_save=lambda state: self._save(song.key, state),
                leaves=lambda state: self._slots.step(song.slot, trajectory.frames) or song.stops(state),
            )
            if not trajectory.done(state):
                return state
            out = await asyncio.to_thread(stage.finish, item, call.params, trajectory, state)
        except Exception:
            await self.end(song.key)  # the saved state may be the cause of the failure
            raise
        return await asyncio.to_thread(outputs_of, out)

    async def _computed(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._runner.work, work, *args)

    def _key(self, call: StageCall) -> str:
        weights = call.stage.weights(self._runner.checkpoint, call.params)
        return cache_key(call, weights, self._runner.numerics(call.stage)).digest

    def _saved(self, key: str, trajectory: Trajectory) -> State | None:
        """The state that an earlier attempt saved, if it belongs to this song."""
        if self._states is None or (state := self._states.read(key)) is None:
            return None
        try:
            trajectory.check(state)
        except InputError as error:
            log.warning("a saved state is not of its song: %s", error)
            return None
        return state

    def _save(self, key: str, state: State) -> None:
        """Save the state. Where that is not possible, the song goes on without."""
        assert self._states is not None
        try:
            self._states.write(key, state)
        except StorageError as error:
            log.warning("%s; the song goes on without", error)
