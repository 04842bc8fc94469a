"""The numbers of a report, from the tables of a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from acestep_flows.bulk.fingerprint import Duplicate
from acestep_flows.bulk.job import BulkJob, Shard
from acestep_flows.bulk.song_warnings import is_truncated

PAUSE = 120.0
"""Seconds without a finished song (and longer than three songs take) after which the job counts as stopped."""


@dataclass(frozen=True)
class Findings:
    """The results of a job, for its report. All tables have the columns of `results.SCHEMA`.

    Attributes:
        rows: number of rows in the whole job or in its shard.
        results: rows that are done, with duplicates by recipe.
        attempts: those that gave no song.
        dead: rows that were given up.
        likes: songs that sound like earlier ones.
        shard: the part of the job.
    """

    job: BulkJob
    rows: int
    results: pa.Table
    attempts: pa.Table
    dead: pa.Table
    likes: Sequence[Duplicate] = ()
    shard: Shard = field(default_factory=Shard)

    @cached_property
    def songs(self) -> pa.Table:
        """Rows that have a song of their own."""
        return self.results.filter(pc.equal(self.results["status"], "done"))

    @property
    def done(self) -> int:
        return int(self.songs.num_rows)

    @property
    def duplicates(self) -> int:
        """Rows with the recipe of another row."""
        return int(self.results.num_rows) - self.done

    @property
    def failed(self) -> int:
        """Rows that were given up."""
        return int(self.dead.num_rows)

    @property
    def missing(self) -> int:
        """Rows that are neither done nor given up."""
        return max(0, self.rows - int(self.results.num_rows) - self.failed)

    @property
    def retakes(self) -> int:
        """Attempts with another seed."""
        retaken = [pc.sum(pc.greater(table["retake"], 0)).as_py() or 0 for table in (self.songs, self.attempts)]
        return int(sum(retaken))

    @cached_property
    def truncated(self) -> int:
        """Songs that are shorter than asked because the model makes whole frames."""
        lengths = (self.cells(name) for name in ("duration", "duration_asked", "sample_rate"))
        return sum(is_truncated(*of_song) for of_song in zip(*lengths, strict=True))

    def cells(self, name: str) -> list[Any]:
        """A column of the songs."""
        cells: list[Any] = self.songs[name].to_pylist()
        return cells

    def column(self, name: str) -> list[float]:
        """A column of numbers, without nulls."""
        return [value for value in self.cells(name) if value is not None]

    def measured(self, name: str) -> list[Any]:
        """One measurement of every song; None where there is none."""
        values: list[Any] = pc.struct_field(self.songs["measurements"], name).to_pylist()
        return values

    @cached_property
    def causes(self) -> Mapping[str, int]:
        """How many attempts failed with an error, by its code, the most frequent first."""
        failed = self.attempts.filter(pc.equal(self.attempts["status"], "failed"))
        counts = Counter(code or "error" for code in failed["code"].to_pylist())
        # Rows that never came to an attempt (bad inputs) are known by their dead letter alone.
        tried = set(self.attempts["id"].to_pylist())
        dead = zip(
            self.dead["id"].to_pylist(), self.dead["status"].to_pylist(), self.dead["code"].to_pylist(), strict=True
        )
        counts.update(code or "error" for id, status, code in dead if id not in tried and status == "failed")
        return dict(counts.most_common())

    @cached_property
    def gates(self) -> Mapping[str, int]:
        """How many attempts missed each gate."""
        rejected = self.attempts.filter(pc.equal(self.attempts["status"], "rejected"))["measurements"].to_pylist()
        counts = {
            str(gate): sum(not gate.holds(measurements or {}) for measurements in rejected) for gate in self.job.gates
        }
        return {gate: count for gate, count in counts.items() if count}

    def given_up(self, most: int) -> Iterator[dict[str, Any]]:
        """The first dead letters."""
        first = self.dead.sort_by("index").slice(0, most)
        yield from first.select(["id", "line", "attempt", "status", "error"]).to_pylist()

    @cached_property
    def stage_seconds(self) -> Mapping[str, list[float]]:
        """Seconds that each stage worked, in every attempt that reached it."""
        seconds: dict[str, list[float]] = {}
        for stages in self.songs["stage_seconds"].to_pylist() + self.attempts["stage_seconds"].to_pylist():
            for name, value in stages or ():
                seconds.setdefault(name, []).append(value)
        return seconds

    @cached_property
    def times(self) -> list[float]:
        """When songs were finished, in seconds since the epoch, in order."""
        moments = self.songs["finished"].drop_null()
        return [moment / 1e6 for moment in sorted(moments.cast(pa.int64()).to_pylist())]

    @cached_property
    def _at_work(self) -> list[float]:
        """Seconds of work until each song, without the pauses between calls.

        Work begins before the first song, by as long as its stages took.
        """
        gaps = [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]
        usual = sorted(gaps)[len(gaps) // 2] if gaps else 0.0
        longest, at = max(PAUSE, 3 * usual), self._first_seconds
        seconds = [at] if self.times else []
        for gap in gaps:
            at += gap if gap <= longest else usual
            seconds.append(at)
        return seconds

    @property
    def _first_seconds(self) -> float:
        """Seconds that the stages of the first finished song worked."""
        first = self.songs.sort_by("finished").slice(0, 1)["stage_seconds"].to_pylist()
        return sum((seconds for _, seconds in first[0] or ()), 0.0) if first else 0.0

    @property
    def ended(self) -> list[tuple[float, float]]:
        """Songs finished over time, in `ended_unit`."""
        scale = 3600 if self.ended_unit == "hours" else 60 if self.ended_unit == "minutes" else 1
        return [(at / scale, count) for count, at in enumerate(self._at_work, 1)]

    @property
    def ended_unit(self) -> str:
        last = self._at_work[-1] if self._at_work else 0.0
        return "hours" if last >= 7200 else "minutes" if last >= 120 else "seconds"

    @property
    def songs_per_hour(self) -> float:
        """Songs in an hour of work; 0 where no times are known."""
        last = self._at_work[-1] if self._at_work else 0.0
        return 3600 * len(self._at_work) / last if last > 0 else 0.0

    @property
    def speed(self) -> float:
        """Seconds of audio per second of work."""
        seconds = self.column("duration")
        return self.songs_per_hour / 3600 * sum(seconds) / len(seconds) if seconds else 0.0

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """The versions that songs were made with; several where they differ."""
        by_name: dict[str, set[str]] = {}
        for pairs in self.songs["versions"].to_pylist():
            for name, version in pairs or ():
                by_name.setdefault(name, set()).add(version)
        return {name: " and ".join(sorted(versions)) for name, versions in by_name.items()}
