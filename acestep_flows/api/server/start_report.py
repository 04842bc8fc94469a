"""How far the start of a server has come, as lines for people. No phase stays silent for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from acestep_flows.runtime.serving.loading import LoadingNotes

Tell = Callable[[str], None]

PAUSE = 5.0
"""Longest time without a line."""

LEAST = 1.0
"""Least time between two lines of one phase."""

POLL = 0.2


class StartReport:
    """Tells each phase as it begins, and again with its seconds while it lasts. A context: its end is the end.

    Args:
        tell: takes a line.

    Attributes:
        tell: the same.
    """

    def __init__(self, tell: Tell) -> None:
        self.tell = tell
        self._lock = threading.Lock()
        self._phase, self._detail, self._news = "", "", False
        self._began = self._last_line_at = time.monotonic()
        self._notes: LoadingNotes | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="start-report", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def phase(self, words: str) -> None:
        """Tell that a phase begins."""
        with self._lock:
            self._phase, self._detail, self._news = words, "", False
            self._began = self._last_line_at = time.monotonic()
            self.tell(words)

    @contextmanager
    def following(self, notes: LoadingNotes) -> Iterator[None]:
        """Tell what processes load as they write it to `notes`."""
        notes.open()
        with self._lock:
            self._notes = notes
        try:
            yield
        finally:
            with self._lock:
                self._notes = None
            notes.close()

    def _watch(self) -> None:
        while not self._ended.wait(POLL):
            with self._lock:
                self._tell_what_is_due()

    def _tell_what_is_due(self) -> None:
        lines = self._notes.take() if self._notes is not None else []
        if lines:
            self._detail, self._news = lines[-1], True
        silent = time.monotonic() - self._last_line_at
        if self._phase and (silent >= PAUSE or (self._news and silent >= LEAST)):
            self._last_line_at, self._news = time.monotonic(), False
            self.tell(f"{self._detail or self._phase} ({self._last_line_at - self._began:.0f} s)")
