"""Diffusion calls of one process: through the step engine, and from where a killed process left them.

More of them than the engine has places for take turns: see `seating`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from acestep_flows.errors import FlowsError, InputError, StageError, StorageError
from acestep_flows.graph.content import Handle, Outputs, translate
from acestep_flows.graph.execution.cache_key import cache_key
from acestep_flows.graph.execution.runner import CallProgress, Reply
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.runtime.engine import StepEngine
from acestep_flows.runtime.handles import ports_of
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.runtime.serving.pool import EngineSection
from acestep_flows.runtime.serving.saved_states import SavedStates
from acestep_flows.runtime.serving.song_slots import Slot, SongSlots
from acestep_flows.sampling.trajectory import State, Trajectory
from acestep_flows.stages.diffusion import DiffusionStage, preview_of

log = logging.getLogger(__name__)

T = TypeVar("T")


class DiffusionCalls:
    """Runs calls of diffusion stages together.

    Args:
        runner: has the stages loaded.
        budget: of the engine.
        states: where songs half done are kept; None: nowhere.
        lanes: forward passes side by side.
    """

    def __init__(
        self, runner: LocalRunner, budget: EngineSection, states: SavedStates | None, *, lanes: int = 1
    ) -> None:
        # On a CPU a turn and a call of another stage would only take the cores from each other.
        shared = runner.work if runner.placement.device == "cpu" else None
        self.engine = StepEngine(budget.tokens, budget.songs, padding=budget.padding, lanes=lanes, worker=shared)
        self._runner, self._states, self._save_every = runner, states, budget.save_every
        self._seating = SongSlots(budget.songs)

    async def call(self, call: StageCall, progress: CallProgress, alone_until: int = 0) -> tuple[Reply | None, str]:
        """The reply, and the key under which a state may still be saved: `forget` it once the reply has arrived.

        Args:
            alone_until: the step at which the call stops with its state saved, where states are saved; its reply is
                then None. 0: it goes to its end.

        Raises:
            FlowsError: as the stage said, or StageError around any other exception.
        """
        with self._seating.song(call.run) as place:
            try:
                return await self._sing(call, progress, place, alone_until)
            except FlowsError:
                raise
            except Exception as error:
                raise StageError("", call.stage.name, error) from error

    async def forget(self, key: str) -> None:
        """Drop what is saved under `key`."""
        if self._states is not None:
            await asyncio.to_thread(self._states.drop, key)

    async def _sing(
        self, call: StageCall, progress: CallProgress, place: Slot, alone_until: int
    ) -> tuple[Reply | None, str]:
        """From place to place to its end. In between its conditions, which are on the device, go; its state stays."""
        key = await asyncio.to_thread(self._key, call)
        save = self._saver(key)
        state: State | None = None
        seconds = 0.0
        while True:
            async with self._seating.sit(place):
                if state is None:
                    progress.started()
                begun = time.perf_counter()
                reached = await self._seated(call, key, progress, place, state, alone_until)
                seconds += time.perf_counter() - begun
            if not isinstance(reached, State):
                return Reply(reached, seconds), key
            state = reached
            if save is not None and 0 < alone_until <= state.step:
                await asyncio.to_thread(save, state)
                return None, key

    async def _seated(
        self, call: StageCall, key: str, progress: CallProgress, place: Slot, state: State | None, alone_until: int
    ) -> State | Outputs:
        """The outputs, or the state with which the song has to wait for a place again."""
        stage = await self._computed(self._runner.loaded, call.stage)
        assert isinstance(stage, DiffusionStage)
        item = call.stage.In(**translate(call.inputs, lambda leaf: leaf.token if isinstance(leaf, Handle) else leaf))
        song = await self._computed(stage.song, item, call.params)
        trajectory, total = song.trajectory, song.trajectory.steps
        if state is None:
            state = await asyncio.to_thread(self._left, key, trajectory)
            progress.step(0 if state is None else state.step, total)

        def leaves(state: State) -> bool:
            cleared = self._saves and 0 < alone_until <= state.step
            return self._seating.step(place, trajectory.frames) or cleared

        try:
            state = await self.engine.run(
                song,
                state=state,
                on_step=lambda state: progress.step(state.step, total),
                preview_every=call.preview_every,
                on_preview=lambda step, estimate: progress.preview(step, total, preview_of(estimate)),
                save_every=self._save_every,
                on_save=self._saver(key),
                leaves=leaves,
            )
            if not trajectory.done(state):
                return state
            out = await asyncio.to_thread(stage.finish, item, call.params, trajectory, state)
        except Exception:
            await self.forget(key)  # What was reached may be what it failed of. Cancelled songs may come again.
            raise
        return await asyncio.to_thread(ports_of, out)

    async def _computed(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._runner.work, work, *args)

    def _key(self, call: StageCall) -> str:
        weights = call.stage.weights(self._runner.checkpoint, call.params)
        return cache_key(call, weights, self._runner.numerics(call.stage)).digest

    def _left(self, key: str, trajectory: Trajectory) -> State | None:
        """Where an earlier process left the song."""
        if self._states is None or (state := self._states.read(key)) is None:
            return None
        try:
            trajectory.check(state)
        except InputError as error:
            log.warning("a saved state is not of its song: %s", error)
            return None
        return state

    @property
    def _saves(self) -> bool:
        return self._states is not None and self._save_every > 0

    def _saver(self, key: str) -> Callable[[State], None] | None:
        states = self._states
        if states is None or not self._saves:
            return None

        def save(state: State) -> None:
            try:
                states.write(key, state)
            except StorageError as error:
                log.warning("%s; the song goes on without", error)

        return save
