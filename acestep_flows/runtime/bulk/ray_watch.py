"""The end of a job whose Ray has died under it: with an error in one line, and in any case.

What waits for a Ray that has ended may wait for ever, and so may the end of the interpreter.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

from acestep_flows.errors import FlowsError
from acestep_flows.runtime.serving.local_ray import OwnRay

T = TypeVar("T")

LOOK_SECONDS = 0.5

NOTE_EVERY = 10
"""Looks between two at all processes of Ray: those of a raylet that has ended are no longer found."""

PATIENCE_SECONDS = 3.0
"""How long Ray's library may take to raise an error of its own."""

END_SECONDS = 25.0
"""How long this process may take to end in order. Ray's library ends it after a minute, without a word."""


def no_use(fault: str) -> str:
    """The line for people on a Ray that has died."""
    return f"{fault}, so no row can be rendered; the same command goes on with the rows that are left"


def while_ray_lives(items: Iterator[T], own: OwnRay | None) -> Generator[T, None, None]:
    """The items of a pipeline, until its Ray dies.

    Args:
        items: from a pipeline on `own`.
        own: the Ray; None: it is not this process's, and is not watched.

    Raises:
        FlowsError: Ray has died. What waits for an item in the main thread is interrupted for that.
        KeyboardInterrupt: the user stops the job, also where the same signal has ended Ray's processes first.
    """
    if own is None:
        yield from items
        return
    watch = _Watch(own)
    try:
        while True:
            with watch.waiting():
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
    finally:
        watch.left.set()


class _Watch:
    """Looks after a Ray from a thread of its own.

    Attributes:
        left: set when nobody takes items any more.
    """

    def __init__(self, own: OwnRay) -> None:
        self._own, self._fault = own, ""
        self._interrupts = 0  # those that it has sent to the main thread
        self._waiting = threading.Event()
        self._is_main = threading.current_thread() is threading.main_thread()
        self.left = threading.Event()
        threading.Thread(target=self._look, name="ray watch", daemon=True).start()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Whatever ends the body of the `with` after Ray has died, is told as that, except a stop by the user."""
        self._waiting.set()
        try:
            yield
        except StopIteration:
            raise
        except BaseException as error:
            # Slurm and systemd send SIGTERM to Ray's processes as well, which may end before this one has heard of it.
            if _interrupts_in(error) > self._interrupts:
                if isinstance(error, KeyboardInterrupt):
                    raise
                raise KeyboardInterrupt from error  # it met another error on its way, as in a lock
            if fault := self._fault or self._own.fault():
                raise FlowsError(no_use(fault)) from error
            raise
        finally:
            self._waiting.clear()

    def _look(self) -> None:
        for look in itertools.count():
            if self.left.wait(LOOK_SECONDS):
                return
            if look % NOTE_EVERY == 0:
                self._own.processes()
            if fault := self._own.fault():
                self._fault = fault
                self._own.kill()
                self._end()
                return

    def _end(self) -> None:
        """Have the main thread leave; where it does not, end the process."""
        if not self._is_main:
            return
        if not self.left.wait(PATIENCE_SECONDS) and self._waiting.is_set():
            self._interrupts = 1
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        left = self.left.wait(END_SECONDS)
        if not left:
            sys.stderr.write(f"error: {no_use(self._fault)}\n")
        else:
            threading.Event().wait(END_SECONDS)
        sys.stderr.flush()
        os._exit(1)


def _interrupts_in(error: BaseException | None) -> int:
    """How many interrupts led to an error: the second one comes while the first is on its way out."""
    count = 0
    while error is not None:
        count += isinstance(error, KeyboardInterrupt)
        error = error.__context__
    return count
