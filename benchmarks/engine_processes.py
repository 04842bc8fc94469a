"""Songs in processes of one thread each: what the lanes of an engine, which are threads of one process, could reach."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from acestep_flows.model.threads import limit_threads
from benchmarks.engine_songs import Songs, one_by_one


class SongProcesses:
    """Processes that wait to make their share of the songs."""

    def __init__(self, pipes: Sequence[Connection]) -> None:
        self._pipes = pipes

    def seconds(self, count: int | None = None) -> list[float]:
        """Make all songs once, or those of the first `count` processes. Returns the seconds of each."""
        working = self._pipes[:count]
        for pipe in working:
            pipe.send(True)
        return [pipe.recv() for pipe in working]


@contextmanager
def song_processes(
    count: int, folder: Path, device: str, dtype: str, lengths: Sequence[float], steps: int
) -> Iterator[SongProcesses]:
    """`count` processes, each with its own weights from `folder` and every `count`th song of `lengths` seconds."""
    spawn = multiprocessing.get_context("spawn")
    pipes = []
    processes = []
    for number in range(count):
        ours, theirs = spawn.Pipe()
        work = (theirs, folder, device, dtype, list(lengths[number::count]), steps)
        processes.append(spawn.Process(target=_make_when_asked, args=work, daemon=True))
        pipes.append(ours)
        processes[-1].start()
    try:
        for pipe in pipes:
            pipe.recv()  # it is ready
        yield SongProcesses(pipes)
    finally:
        for pipe, process in zip(pipes, processes, strict=True):
            if process.is_alive():
                pipe.send(False)
            process.join()


def _make_when_asked(
    pipe: Connection, folder: Path, device: str, dtype: str, lengths: Sequence[float], steps: int
) -> None:
    limit_threads(torch, 1)
    songs = Songs(folder, device, dtype).make(lengths, steps)
    one_by_one(songs)
    pipe.send(None)
    while pipe.recv():
        pipe.send(one_by_one(songs))
