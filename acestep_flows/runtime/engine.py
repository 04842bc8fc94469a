"""The step engine: advances many songs at once, and lets them come and go between steps.

    forever:
        songs = who takes part in this turn (all, or a fair share of them)
        each one step on, in shared forward passes     in a thread; the event loop stays free
        who is done, failed, cancelled or late leaves; who came meanwhile takes part in the next turn

It knows no task and no stage: a song is a trajectory and what answers its calls.
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
        finished: becomes the last state, or what the song failed of.
        saving: the write in progress, if any.
        held: whether the song sits out until a write before the last one has ended.
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
    held: bool = False

    def succeed(self, state: State) -> None:
        if not self.finished.done():
            self.finished.set_result(state)

    def fail(self, error: BaseException) -> None:
        if not self.finished.done():
            self.finished.set_exception(error)


class StepEngine:
    """Runs songs together; use it from one event loop, and close it in the end.

    Args:
        tokens: frames times guidance branches that one turn may cost; fewer for a while after memory ran out. A larger
            song goes alone.
        songs: most songs at once; one more is refused. All of them take turns, so more of them do not wait longer
            than their share, but each holds the memory of its conditions.
        padding: frames of padding up to which rows of unequal length share a forward pass.
        lanes: forward passes made side by side: on processors one per core, on a GPU one.
        worker: one thread that turns are made in, and that others may use, too; None: one of the engine's own.
        ask: makes the forward passes in place of the songs' own denoisers.
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
    ) -> None:
        self.songs = songs
        self._fairness: DeficitRoundRobin[EngineSlot] = DeficitRoundRobin(tokens)
        self._room = TokenBudget(tokens)
        self._lanes = Lanes(lanes)
        self._forwards = RowBatcher(padding, ask, self._lanes, self._broke)
        self._record = TurnRecorder()
        self._given = 0
        self._seats: dict[EngineSlot, None] = {}  # in order of arrival
        self._came = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._own = [_thread("arrivals", 1)]
        if worker is None:
            worker = _thread("steps", torch.get_num_threads())
            self._own.append(worker)
        self._arrivals, self._worker = self._own[0], worker

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop after the turn in progress; songs still under way are cancelled."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])
        for thread in self._own:
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
        """Take a song from `state` (None: its start) to its end. Cancelling this frees its place at once.

        Args:
            deadline: seconds from now after which the song is given up.
            on_step: told of every new state, on the event loop, so it must be quick. Ends the song by raising.
            preview_every: steps between previews; 0: none.
            on_preview: given the step and the song as it looks by now, (8, 16, T), on the event loop.
            save_every: steps between saves; 0: none.
            on_save: stores the state, in a thread of its own. The song goes on meanwhile, but never has more than one
                save outstanding, and does not end before it. What it raises ends the song.
            leaves: asked on the event loop after every step but the last; true: the song leaves as it stands.

        Returns:
            The last state, or the one that the song left with.

        Raises:
            Overloaded: there is no place free.
            DeadlineExceeded: the deadline passed.
            Cancelled, LostProcess: the engine was closed; the engine broke.
            InputError: `state` is of another song.
        """
        if self._loop is not None and self._loop.done():
            raise _why(self._loop)
        if self._given >= self.songs:
            raise Overloaded(f"{self._given} songs are under way, as many as the engine takes")
        self._given += 1
        seat = None
        try:
            async with asyncio.timeout(deadline) as timer:
                begun = await self._on(self._arrivals, ActiveSong.begin, song.trajectory, song.denoise, state)
                if begun.done:
                    return begun.state
                finished: asyncio.Future[State] = asyncio.get_running_loop().create_future()
                seat = EngineSlot(begun, finished, on_step, preview_every, on_preview, save_every, on_save, leaves)
                self._take(seat)
                return await finished
        except TimeoutError:
            if not timer.expired():
                raise
            at = "before it began" if seat is None else f"after step {seat.song.state.step} of {song.trajectory.steps}"
            raise DeadlineExceeded(f"stopped {at}, at its deadline of {deadline:g} s") from None
        finally:
            self._given -= 1
            if seat is not None:
                self._seats.pop(seat, None)
                if seat.saving is not None:
                    await asyncio.wait([seat.saving])

    def stats(self) -> EngineStats:
        """Where the engine stands."""
        return self._record.stats(self._given, len(self._seats), self._fairness.budget)

    @property
    def healthy(self) -> bool:
        """Whether turns go on; False only when the engine itself broke."""
        return self._loop is None or not self._loop.done()

    def _take(self, seat: EngineSlot) -> None:
        if self._loop is None:
            self._loop = asyncio.create_task(self._turns(), name="step-engine")
            self._loop.add_done_callback(self._ended)
        if self._loop.done():
            raise _why(self._loop)
        self._seats[seat] = None
        self._came.set()

    async def _turns(self) -> None:
        while True:
            present = [seat for seat in self._seats if not seat.held]
            if not present:
                self._came.clear()
                await self._came.wait()
                continue
            outcomes = await self._on(self._worker, self._turn, present)
            for seat, outcome in outcomes.items():
                if seat in self._seats:  # else it left during the step
                    self._boundary(seat, outcome)

    async def _on(self, threads: Executor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, partial(work, *args, **kwargs))

    def _turn(self, seats: Sequence[EngineSlot]) -> dict[EngineSlot, ActiveSong | Exception]:
        """One turn, in the worker's thread: who takes part, and where that leads."""
        picked = self._fairness.pick({seat: seat.song.tokens for seat in seats})
        with self._record.turn(sum(seat.song.tokens for seat in picked), len(picked), self._fairness.budget):
            outcomes = dict(zip(picked, self._forwards.step([seat.song for seat in picked]), strict=True))
        self._room.held()
        self._fairness.budget = self._room.tokens
        return outcomes

    def _boundary(self, seat: EngineSlot, outcome: ActiveSong | Exception) -> None:
        """A song's step is made: tell whoever listens, and let the song go if it is done."""
        try:
            if isinstance(outcome, Exception):
                raise outcome
            seat.song = outcome
            state, step = outcome.state, outcome.state.step
            if seat.on_step is not None:
                seat.on_step(state)
            if outcome.done:
                self._seats.pop(seat, None)
                seat.succeed(state)
                return
            if seat.on_preview is not None and seat.preview_every and step % seat.preview_every == 0:
                seat.on_preview(step, outcome.trajectory.estimate(state))
            if seat.on_save is not None and seat.save_every and step % seat.save_every == 0:
                self._save(seat, seat.on_save, state)
            if seat.leaves is not None and seat.leaves(state):
                self._seats.pop(seat, None)
                seat.succeed(state)
        except Exception as error:  # noqa: BLE001 - whatever breaks, breaks this song alone
            self._seats.pop(seat, None)
            seat.fail(error)

    def _save(self, seat: EngineSlot, on_save: OnSave, state: State) -> None:
        before = seat.saving

        async def save() -> None:
            try:
                if before is not None:
                    await before
                seat.held = False
                self._came.set()
                await asyncio.to_thread(on_save, state)
            except Exception as error:  # noqa: BLE001 - as above
                self._seats.pop(seat, None)
                seat.fail(error)

        seat.held = before is not None and not before.done()
        seat.saving = asyncio.create_task(save())

    def _broke(self, songs: Sequence[ActiveSong], error: Exception) -> None:
        """A shared pass failed. When it was too large, turns become smaller for a while."""
        self._record.broken += 1
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            self._room.ran_out(sum(song.tokens for song in songs))

    def _ended(self, loop: asyncio.Task[None]) -> None:
        """Turns have ended, on request or because the engine broke: nobody may wait for ever."""
        for seat in self._seats:
            seat.fail(_why(loop))
        self._seats.clear()


def _thread(name: str, width: int) -> ThreadPoolExecutor:
    """One thread, whose torch operations use `width` threads."""
    return ThreadPoolExecutor(1, thread_name_prefix=name, initializer=limit_threads, initargs=(torch, width))


def _why(loop: asyncio.Task[None]) -> FlowsError:
    """Why turns have ended. A broken engine is like a dead process: the song may be tried on another."""
    if loop.cancelled():
        return Cancelled("the engine was closed")
    return LostProcess(f"the step engine broke: {loop.exception()!r}")
