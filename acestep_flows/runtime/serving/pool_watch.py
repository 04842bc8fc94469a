"""Watches a pool while it serves: whether it can make calls now, whether it ever will again, and what stands still.

Serve replaces what has died, but takes long to notice a process that lives and does nothing: one that was stopped, or
that hangs in a driver. So each kind of process is asked every second, and what does not answer is killed after a while.
Serve then replaces it. If Ray itself has died nothing can be replaced, and the server has to end.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import psutil
import ray

from acestep_flows.runtime.serving import orphans
from acestep_flows.runtime.serving.runner import ServeRunner

if TYPE_CHECKING:
    from acestep_flows.runtime.serving.pool_ray import PoolRay

log = logging.getLogger(__name__)

PERIOD = 1.0
"""Seconds between two questions."""

ANSWER_SECONDS = 3.0
"""How long an answer may take until the pool is not ready. With PERIOD less than 5 s together."""

KILL_SECONDS = 20.0
"""How long a process may stay silent until it is killed. A replacement takes some 20 s, and a minute is the aim."""

NOTE_SECONDS = 10.0
"""Seconds between two looks at all processes of Ray, for which the whole machine's are read."""

CONTROLLER = "SERVE_CONTROLLER_ACTOR"


class PoolWatch:
    """Asks the processes of a pool whether they work.

    Args:
        runner: over the pool.
        own: the Ray that the pool is on, if this process started or joined it. What stands still is killed only on a
            Ray that it started.

    Attributes:
        fault: why the pool will never work again; empty while it may.
    """

    def __init__(self, runner: ServeRunner, own: PoolRay | None = None) -> None:
        self._runner, self._own = runner, own
        self._ended = threading.Event()
        self.fault = ""
        self._questions = [
            _Question(f"process {name}", runner.pids_asker(name), own, may_be_none=runner.least(name) == 0)
            for name in runner.processes
        ]
        if self._questions:
            self._questions.append(_Question("Serve's controller", _ask_controller, own))

    @contextlib.contextmanager
    def watching(self, on_fault: Callable[[str], None] = lambda fault: None) -> Iterator[None]:
        """Ask while the context lasts.

        Args:
            on_fault: called once, in a thread, when the pool will never work again.
        """
        for question in self._questions:
            self._repeat(question.ask)
        if self._own is not None:
            self._repeat(self._own.processes, NOTE_SECONDS)  # noted for whoever clears away after this process
        self._repeat(lambda: self._look(on_fault))
        try:
            yield
        finally:
            self._ended.set()

    def problem(self) -> str:
        """Why no call can be made now; empty if calls can be made. Does not wait."""
        stopped = self._own.problem() if self._own is not None else ""
        return self.fault or stopped or next(filter(None, (question.problem() for question in self._questions)), "")

    def _repeat(self, work: Callable[[], object], period: float | None = None) -> None:
        def repeat() -> None:
            while not self._ended.wait(period or PERIOD):
                work()

        threading.Thread(target=repeat, name="pool watch", daemon=True).start()

    def _look(self, on_fault: Callable[[str], None]) -> None:
        """Look after Ray's own processes."""
        if self._own is None or self.fault:
            return
        if fault := self._own.fault():
            self.fault = fault
            self._runner.pool_ended()
            on_fault(fault)


class _Question:
    """One kind of process that is asked again and again.

    Args:
        name: in words.
        ask: returns the ids of the processes that answered within a time, and whether all did.
        may_be_none: whether there may be none of this kind, as it is started when it is needed.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[float], tuple[set[int], bool]],
        own: PoolRay | None,
        *,
        may_be_none: bool = False,
    ) -> None:
        self._name, self._ask, self._own, self._may_be_none = name, ask, own, may_be_none
        self._asked: float | None = None
        self._nobody = ""
        self._answers: dict[psutil.Process, float] = {}

    def problem(self) -> str:
        """Why it is of no use now. A question that hangs is a problem too."""
        asked = self._asked
        if asked is not None and time.monotonic() - asked > ANSWER_SECONDS:
            return f"{self._name} does not answer"
        return self._nobody

    def ask(self) -> None:
        """Ask once, and kill what has been silent for too long."""
        self._asked = time.monotonic()
        try:
            pids, all_answered = self._ask(ANSWER_SECONDS)
        except Exception as error:  # noqa: BLE001 whatever Ray raises, there was no answer
            pids, all_answered = set(), False
            self._nobody = f"{self._name} does not answer ({type(error).__name__})"
        else:
            none_there = self._may_be_none and all_answered
            self._nobody = "" if pids or none_there else f"{self._name} does not answer"
        self._asked = None
        self._record(pids)
        if not all_answered and self._own is not None and not self._own.fault():  # else nothing replaces it
            self._kill_silent(self._own)

    def _record(self, pids: set[int]) -> None:
        now = time.monotonic()
        for pid in pids - {process.pid for process in self._answers if orphans.runs(process)}:
            with contextlib.suppress(psutil.Error):
                self._answers[psutil.Process(pid)] = now
        self._answers = {
            process: now if process.pid in pids else answered
            for process, answered in self._answers.items()
            if orphans.runs(process)
        }

    def _kill_silent(self, own: PoolRay) -> None:
        now = time.monotonic()
        silent = [process for process, answered in self._answers.items() if now - answered > KILL_SECONDS]
        for process in own.processes().intersection(silent):
            log.error("%s (pid %d) has not answered for %.0f s; it is replaced", self._name, process.pid, KILL_SECONDS)
            with contextlib.suppress(psutil.Error):
                process.kill()


def _ask_controller(seconds: float) -> tuple[set[int], bool]:
    controller: Any = ray.get_actor(CONTROLLER, namespace="serve")
    return {int(ray.get(controller.get_pid.remote(), timeout=seconds))}, True
