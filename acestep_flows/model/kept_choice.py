"""Choices between two ways of the same computation, measured once on a machine and kept in a file.

The ways differ in last digits. So all processes that share a cache folder have to choose alike: those of a server, the
command line, and a replay next week. Measured anew, a close race would not end the same way each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import secrets
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from acestep_flows import storage
from acestep_flows.errors import StorageError

FOLDER = "choices"


class _Choices:
    """The choices of this process, by cache folder.

    Attributes:
        cache: the folder that is followed; None: each process measures for itself.
        writes: whether new choices are kept.
    """

    def __init__(self) -> None:
        self.cache: Path | None = None
        self.writes = True
        self._known: dict[Path, dict[str, str]] = {}

    def choose(self, name: str, ways: Sequence[str], measure: Callable[[], str]) -> str:
        if self.cache is None:
            return measure()
        known = self._known.setdefault(self.cache, {})
        if name not in known:
            file = self.cache / FOLDER / f"{name}-{_machine()}"
            known[name] = _read(file, ways) or (_keep(file, measure(), ways) if self.writes else measure())
        return known[name]


_choices = _Choices()


def keep_choices_in(cache: Path) -> None:
    """Have this process follow the choices that are kept in a cache folder, and keep its own there."""
    _choices.cache, _choices.writes = cache, True


def follow_choices_in(cache: Path) -> None:
    """Have this process follow the choices that are kept in a cache folder, and write nothing there."""
    _choices.cache, _choices.writes = cache, False


def choose(name: str, ways: Sequence[str], measure: Callable[[], str]) -> str:
    """The way that was chosen on this machine before, else the one that `measure` returns, which is kept.

    Without a folder that can be written, each process measures for itself.

    Args:
        name: of the choice, for a file.
        ways: that there are.
    """
    return _choices.choose(name, ways, measure)


def _read(file: Path, ways: Sequence[str]) -> str:
    """The way that a file names; empty without one."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if (text := file.read_text(encoding="ascii").strip()) in ways:
            return text
    return ""


def _keep(file: Path, way: str, ways: Sequence[str]) -> str:
    """Write the file unless another process was first, whose way is returned then."""
    part = file.with_name(f".{file.name}-{secrets.token_hex(4)}")
    with contextlib.suppress(OSError, StorageError):
        storage.write(part, f"{way}\n".encode("ascii"))
        try:
            os.link(part, file)
        except FileExistsError:
            if other := _read(file, ways):
                return other
            part.replace(file)  # it was damaged
        finally:
            part.unlink(missing_ok=True)
    return way


def _machine() -> str:
    """What a measurement is good for: this kind of processor, and this version of torch."""
    kind = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        kind += "".join(sorted({line for line in lines if line.startswith(("model", "cpu family", "flags"))}))
    return hashlib.sha256(f"{kind} {version('torch')}".encode()).hexdigest()[:16]
