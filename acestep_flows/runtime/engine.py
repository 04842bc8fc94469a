"""The step engine: advances many songs at once, and lets them come and go between steps.

    forever:
        songs = those that take part in this turn (all, or a fair share of them)
        advance each by one step, in shared forward passes     in a thread; the event loop stays free
        songs that are done, failed, cancelled or late leave; songs that arrived take part in the next turn

It knows no task and no stage: a song is a trajectory, and a denoiser that answers its queries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

import torch
from torch import Tensor

from acestep_flows.errors import Cancelled, DeadlineExceeded, FlowsError, LostProcess, Overloaded
from acestep_flows.model.threads import Lanes, limit_threads
from acestep_flows.runtime.engine_stats import EngineStats, TurnRecorder
from acestep_flows.runtime.turn_budget import DeficitRoundRobin, TokenBudget
from acestep_flows.sampling.active_song import ActiveSong
from acestep_flows.sampling.recorded_passes import RecordedPasses
from acestep_flows.sampling.resident_state import ResidentState
from acestep_flows.sampling.row_batching import PADDING, Ask, RowBatcher
from acestep_flows.sampling.trajectory import State
from acestep_flows.stages.diffusion import DenoisingSong

P = ParamSpec("P")
T = TypeVar("T")

OnStep = Callable[[State], None]
OnPreview = Callable[[int, Tensor], None]
OnSave = Callable[[State], None]
Leaves = Callable[[State], bool]


@dataclass(eq=False)
class EngineSlot:
    """A song's place in the engine.

    Attributes:
        finished: becomes the last state, or the error of the song.
        saving: the write in progress, if any.
        previewing: the copy of a preview from the device in progress, if any.
        held: whether the song misses turns until an earlier write has ended.
    """

    song: ActiveSong
    finished: asyncio.Future[State]
    on_step: OnStep | None = None
    preview_every: int = 0
    on_preview: OnPreview | None = None
    save_every: int = 0
    on_save: OnSave | None = None
    leaves: Leaves | None = None
    saving: asyncio.Task[None] | None = None
    previewing: asyncio.Task[None] | None = None
    held: bool = False

    def succeed(self, state: State) -> None:
        if not self.finished.done():
            self.finished.set_result(state)

    def fail(self, error: BaseException) -> None:
        if not self.finished.done():
            self.finished.set_exception(error)


class StepEngine:
    """Runs songs together. Use it from one event loop, and close it in the end.

    Args:
        tokens: frames times guidance branches that one turn may cost; fewer for a while after memory ran out. A larger
            song goes alone.
        songs: most songs at once; one more is refused. All of them take turns, and each holds the memory of its
            conditions.
        padding: frames of padding up to which rows of unequal length share a forward pass.
        lanes: forward passes made side by side: on processors one per core, on a GPU one.
        worker: the thread in which turns are made; others may use it, too. None: a thread of the engine's own.
        ask: makes the forward passes in place of the songs' own denoisers.
        share_below: frames from which on a song shares no forward pass, so that it comes out bit for bit as it would
            alone; None: songs of any length share.
        recorded: makes the passes on a GPU, where it has them recorded.
    """

    def __init__(
        self,
        tokens: int = 8192,
        songs: int = 64,
        *,
        padding: int = PADDING,
        lanes: int = 1,
        worker: Executor | None = None,
        ask: Ask | None = None,
        share_below: int | None = None,
        recorded: RecordedPasses | None = None,
    ) -> None:
        self.songs, self.recorded = songs, recorded
        self._fairness: DeficitRoundRobin[EngineSlot] = DeficitRoundRobin(tokens)
        self._budget = TokenBudget(tokens)
        self._lanes = Lanes(lanes)
        self._forwards = RowBatcher(padding, ask, self._lanes, self._pass_failed, share_below, recorded)
        self._recorder = TurnRecorder()
        self._accepted = 0
        self._slots: dict[EngineSlot, None] = {}  # in order of arrival
        self._changed = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._threads = [_thread("arrivals", 1)]
        if worker is None:
            worker = _thread("steps", torch.get_num_threads())
            self._threads.append(worker)
        self._arrivals, self._worker = self._threads[0], worker

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop after the turn in progress; songs that are not done are cancelled."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])
        for thread in self._threads:
            await asyncio.to_thread(thread.shutdown)
        await asyncio.to_thread(self._lanes.close)

    async def run(
        self,
        song: DenoisingSong,
        *,
        state: State | None = None,
        deadline: float | None = None,
        on_step: OnStep | None = None,
        preview_every: int = 0,
        on_preview: OnPreview | None = None,
        save_every: int = 0,
        on_save: OnSave | None = None,
        leaves: Leaves | None = None,
    ) -> State:
        """Take a song from `state` (None: its start) to its end. Cancelling this frees its slot at once.

        Args:
            deadline: seconds from now after which the song is given up.
            on_step: called with every new state, on the event loop, so it must be quick. Ends the song by raising.
            preview_every: steps between previews; 0: none.
            on_preview: called with the step and the song as it looks by now, (8, 16, T), on the event loop.
            save_every: steps between saves; 0: none.
            on_save: stores the state, in a thread of its own. The song goes on meanwhile, but never has more than one
                save outstanding, and does not end before it. What it raises ends the song.
            leaves: called on the event loop after every step but the last; true: the song leaves with its state.

        Returns:
            The last state, or the state that the song left with.

        Raises:
            Overloaded: no slot is free.
            DeadlineExceeded: the deadline passed.
            Cancelled: the engine was closed.
            LostProcess: the engine broke.
            InputError: `state` is of another song.
        """
        if self._loop is not None and self._loop.done():
            raise stop_reason(self._loop)
        if self._accepted >= self.songs:
            raise Overloaded(f"{self._accepted} songs are under way, the most that the engine takes")
        self._accepted += 1
        slot = None
        try:
            async with asyncio.timeout(deadline) as timer:
                active = await self._on(self._arrivals, ActiveSong.begin, song.trajectory, song.denoise, state)
                if active.done:
                    return active.state
                finished: asyncio.Future[State] = asyncio.get_running_loop().create_future()
                slot = EngineSlot(active, finished, on_step, preview_every, on_preview, save_every, on_save, leaves)
                self._enter(slot)
                last = await finished
                return await asyncio.to_thread(last.fetched) if isinstance(last, ResidentState) else last
        except TimeoutError:
            if not timer.expired():
                raise
            at = "before it began" if slot is None else f"after step {slot.song.state.step} of {song.trajectory.steps}"
            raise DeadlineExceeded(f"stopped {at}, at its deadline of {deadline:g} s") from None
        finally:
            self._accepted -= 1
            if slot is not None:
                self._slots.pop(slot, None)
                if under_way := [task for task in (slot.saving, slot.previewing) if task is not None]:
                    await asyncio.wait(under_way)

    def stats(self) -> EngineStats:
        """A snapshot of the engine."""
        return self._recorder.stats(self._accepted, len(self._slots), self._fairness.budget)

    @property
    def healthy(self) -> bool:
        """Whether the engine works; False only when the engine itself broke."""
        return self._loop is None or not self._loop.done()

    def _enter(self, slot: EngineSlot) -> None:
        if self._loop is None:
            self._loop = asyncio.create_task(self._turns(), name="step-engine")
            self._loop.add_done_callback(self._turns_ended)
        if self._loop.done():
            raise stop_reason(self._loop)
        self._slots[slot] = None
        self._changed.set()

    async def _turns(self) -> None:
        while True:
            present = [slot for slot in self._slots if not slot.held]
            if not present:
                self._changed.clear()
                await self._changed.wait()
                continue
            outcomes = await self._on(self._worker, self._turn, present)
            for slot, outcome in outcomes.items():
                if slot in self._slots:  # else it left during the step
                    self._boundary(slot, outcome)

    async def _on(self, threads: Executor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, partial(work, *args, **kwargs))

    def _turn(self, slots: Sequence[EngineSlot]) -> dict[EngineSlot, ActiveSong | Exception]:
        """One turn, in the worker's thread: choose the songs that take part, and advance them."""
        picked = self._fairness.pick({slot: slot.song.tokens for slot in slots})
        with self._recorder.turn(sum(slot.song.tokens for slot in picked), len(picked), self._fairness.budget):
            outcomes = dict(zip(picked, self._forwards.step([slot.song for slot in picked]), strict=True))
        self._budget.held()
        self._fairness.budget = self._budget.tokens
        return outcomes

    def _boundary(self, slot: EngineSlot, outcome: ActiveSong | Exception) -> None:
        """A song made a step: call its listeners, and let it leave if it is done."""
        try:
            if isinstance(outcome, Exception):
                raise outcome
            slot.song = outcome
            state, step = outcome.state, outcome.state.step
            if slot.on_step is not None:
                slot.on_step(state)
            if outcome.done:
                self._slots.pop(slot, None)
                slot.succeed(state)
                return
            if slot.on_preview is not None and slot.preview_every and step % slot.preview_every == 0:
                self._preview(slot, slot.on_preview, outcome)
            if slot.on_save is not None and slot.save_every and step % slot.save_every == 0:
                self._save(slot, slot.on_save, state)
            if slot.leaves is not None and slot.leaves(state):
                self._slots.pop(slot, None)
                slot.succeed(state)
        except Exception as error:  # noqa: BLE001 - whatever breaks, breaks this song alone
            self._slots.pop(slot, None)
            slot.fail(error)

    def _preview(self, slot: EngineSlot, on_preview: OnPreview, song: ActiveSong) -> None:
        """Tell how the song looks by now. From a device it is copied in a thread, and the song goes on meanwhile."""
        if not isinstance(song.state, ResidentState):
            on_preview(song.state.step, song.trajectory.estimate(song.state))
            return
        before = slot.previewing

        async def preview() -> None:
            try:
                if before is not None:
                    await before
                on_preview(song.state.step, await asyncio.to_thread(song.trajectory.estimate, song.state))
            except Exception as error:  # noqa: BLE001 - as above
                self._slots.pop(slot, None)
                slot.fail(error)

        slot.previewing = asyncio.create_task(preview())

    def _save(self, slot: EngineSlot, on_save: OnSave, state: State) -> None:
        before = slot.saving

        async def save() -> None:
            try:
                if before is not None:
                    await before
                slot.held = False
                self._changed.set()
                await asyncio.to_thread(on_save, state)
            except Exception as error:  # noqa: BLE001 - as above
                self._slots.pop(slot, None)
                slot.fail(error)

        slot.held = before is not None and not before.done()
        slot.saving = asyncio.create_task(save())

    def _pass_failed(self, songs: Sequence[ActiveSong], error: Exception) -> None:
        """A shared pass failed. When it ran out of memory, turns become smaller for a while."""
        self._recorder.broken += 1
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            self._budget.ran_out(sum(song.tokens for song in songs))

    def _turns_ended(self, loop: asyncio.Task[None]) -> None:
        """Turns have ended, on request or because the engine broke: fail the songs that still wait."""
        for slot in self._slots:
            slot.fail(stop_reason(loop))
        self._slots.clear()


def _thread(name: str, width: int) -> ThreadPoolExecutor:
    """An executor with one thread, whose torch operations use `width` threads."""
    return ThreadPoolExecutor(1, thread_name_prefix=name, initializer=limit_threads, initargs=(torch, width))


def stop_reason(loop: asyncio.Task[None]) -> FlowsError:
    """The error of songs when turns have ended. A broken engine is like a dead process: the call may be made again."""
    if loop.cancelled():
        return Cancelled("the engine was closed")
    return LostProcess(f"the step engine broke: {loop.exception()!r}")
