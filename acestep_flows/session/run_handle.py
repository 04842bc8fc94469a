"""A run that goes on: wait for it, watch it or stop it, from any thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

from acestep_flows.errors import TimedOut
from acestep_flows.session.loop_thread import LoopThread
from acestep_flows.session.result import RunResult

if TYPE_CHECKING:
    from acestep_flows.graph.execution.run import PlanRun


class RunHandle:
    """A run of a session, as `Session.start` gives it. `await handle` gives its result, too.

    Attributes:
        graph: the name of the graph.
    """

    def __init__(self, graph: str, loop: LoopThread) -> None:
        self.graph = graph
        self._loop = loop
        self._lock = threading.Lock()
        self._future: Future[RunResult] = Future()
        self._future.set_running_or_notify_cancel()  # whoever awaits it cannot cancel it, only ask the run to stop
        self._stop: Callable[[], None] | None = None
        self._cancelled = False

    def __repr__(self) -> str:
        state = "done" if self.done else "stopping" if self._cancelled else "running"
        return f"<RunHandle of {self.graph}: {state}>"

    @property
    def done(self) -> bool:
        """Whether the run is over, however it ended."""
        return self._future.done()

    def cancel(self) -> None:
        """Ask the run to stop at its next step boundary; `result` then raises Cancelled. Does not wait."""
        with self._lock:
            self._cancelled = True
            stop = self._stop
        if stop is not None:
            stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run is over; whether it is. Raises nothing of the run's own errors."""
        self._loop.refuse_own_thread()
        wait([self._future], timeout)
        return self.done

    def result(self, timeout: float | None = None) -> RunResult:
        """The result, when the run is over. Ctrl-C while waiting stops the run at its next step boundary.

        Args:
            timeout: seconds to wait.

        Raises:
            FlowsError: as `Session.run` says.
            TimedOut: the run is not over yet; it goes on. This is a TimeoutError, too.
            KeyboardInterrupt: ctrl-C was pressed; the run has stopped.
        """
        self._loop.refuse_own_thread()
        try:
            return self._future.result(timeout)
        except TimeoutError:
            if self.done:
                raise
            what = f"the run of {self.graph} is not over after {timeout} s, and goes on"
            raise TimedOut(f"{what}; result() waits again, cancel() stops it") from None
        except KeyboardInterrupt:
            self.cancel()
            self.wait()  # a second ctrl-C ends the waiting
            raise

    def __await__(self) -> Generator[Any, None, RunResult]:
        return self._result_async().__await__()

    async def _result_async(self) -> RunResult:
        """The result, awaited on the caller's loop; cancelling the caller stops the run."""
        future = asyncio.wrap_future(self._future)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self.cancel()
            await asyncio.wait([future])
            if not future.cancelled():
                future.exception()  # Looked at: how a stopped run ends no longer matters.
            raise

    # For the session, on its loop.

    def begin(self, run: PlanRun) -> None:
        """Connect `cancel` with `run`."""
        loop = asyncio.get_running_loop()
        with self._lock:
            cancelled = self._cancelled
            self._stop = lambda: None if self.done else _call(loop, run.cancel)
        if cancelled:
            run.cancel()

    def finish(self, outcome: Future[RunResult]) -> None:
        """Take over how the run ended."""
        error = outcome.exception()
        if error is not None:
            self._future.set_exception(error)
        else:
            self._future.set_result(outcome.result())


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: the run is over
        loop.call_soon_threadsafe(function)
