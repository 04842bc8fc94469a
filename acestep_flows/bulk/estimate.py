"""Estimate the cost of a job without running it: forecast a sample of its rows as `graph plan` does, and scale up.

Seconds are what stages took before on this machine, in jobs or else in single runs, in proportion to the length of the
songs where that is known, so they are rough. A stage that never ran here with as many steps is named and not guessed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from acestep_flows.bulk.inputs import opened
from acestep_flows.bulk.job import Shard
from acestep_flows.bulk.rows import JobRows, Row
from acestep_flows.errors import InputError
from acestep_flows.graph.execution.forecast import Forecast, NodeForecast, forecast
from acestep_flows.graph.execution.song_length import BYTES_OF_VALUES, share_of_length
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.stages.registry import stages as registry

if TYPE_CHECKING:
    from acestep_flows.bulk.results import ResultRow
    from acestep_flows.graph.execution.scheduler import Scheduler
    from acestep_flows.runtime.serving.pool import Pool

SAMPLE = 50
BYTES_PER_SECOND = {"wav": 176_400, "flac": 125_000, "mp3": 24_000, "ogg": 24_000}
"""Of stereo songs at 44.1 kHz: 16 bit samples, lossless compression, about 192 kbit/s."""


@dataclass(frozen=True)
class Price:
    """The estimated cost of a job.

    Attributes:
        rows: songs to make.
        sampled: rows that were forecast.
        nodes, cached: nodes of the sampled plans, and those whose result is in the cache.
        busy: seconds of work by process, over all rows and replicas.
        hours: until the busiest process is done, without the time to start; 0 where no time is known.
        unknown: stages that never ran here, or with other numbers of steps only; their time is missing.
        audio_hours: of music, where the graph says how long songs are.
        disk: bytes of audio files.
        refused: sampled rows that would fail, with the reason.
    """

    rows: int
    sampled: int
    nodes: int = 0
    cached: int = 0
    busy: dict[str, float] = field(default_factory=dict)
    hours: float = 0.0
    unknown: tuple[str, ...] = ()
    audio_hours: float | None = None
    disk: int | None = None
    refused: tuple[str, ...] = ()

    @property
    def known_hours(self) -> float | None:
        """The hours; None where those of a stage are not known."""
        return None if self.unknown else self.hours


def missing(shard: Shard, settled: Collection[str] = ()) -> Callable[[Row], bool]:
    """Whether a row is still to be made: it is good, of the part, and not among the ids that are settled."""
    return lambda row: row.problem is None and shard.holds(row.index) and row.id not in settled


def sample(
    rows: Iterable[Row], count: int, most: int = SAMPLE, wanted: Callable[[Row], bool] = lambda row: True
) -> list[Row]:
    """Up to `most` good rows that are wanted, evenly spread over the `count` that there are."""
    step = max(1, count // most)
    chosen: list[Row] = []
    following = 0
    for row in rows:
        if row.index >= following and row.problem is None and wanted(row):
            chosen.append(row)
            following += step
            if len(chosen) == most:
                break
    return chosen


def price(
    rows: JobRows,
    count: int,
    scheduler: Scheduler,
    pool: Pool,
    audio: str = "flac",
    seen: Mapping[str, float] | None = None,
    wanted: Callable[[Row], bool] = lambda row: True,
) -> Price:
    """What `count` rows would take on the processes of `pool`, from the timings and the cache of `scheduler`.

    Args:
        seen: seconds by stage that rows of this job took; they go before those of other songs.
        wanted: whether a row is among these.
    """
    chosen = sample(rows, count, wanted=wanted)
    return asyncio.run(_price(rows, chosen, count, scheduler, pool, audio, seen or {}))


def seconds_seen(results: Iterable[ResultRow], most: int = 500) -> dict[str, float]:
    """Mean seconds by stage of rows that are done."""
    sums: dict[str, float] = {}
    rows = 0
    for row in islice((row for row in results if row.stage_seconds), most):
        rows += 1
        for stage, seconds in row.stage_seconds.items():
            sums[stage] = sums.get(stage, 0.0) + seconds
    return {stage: seconds / rows for stage, seconds in sums.items()}


@dataclass
class _Sample:
    """Sums over the forecasts of the sampled rows."""

    busy: dict[str, float] = field(default_factory=dict)
    nodes: Counter[str] = field(default_factory=Counter)
    unknown: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)

    def add(
        self, row: Row, row_forecast: Forecast, pool: Pool, seen: Mapping[str, float], length: float | None
    ) -> None:
        self.nodes.update(node.fate for node in row_forecast.nodes)
        self.refused += [f"line {row.line}: {problem}" for problem in _problems(row_forecast)]
        computed = Counter(node.stage for node in row_forecast.nodes if node.fate == "computed")
        for node in row_forecast.nodes:
            seconds = node.seconds
            if node.fate == "computed" and node.stage in seen:
                seconds = seen[node.stage] / computed[node.stage]
            elif node.fate == "computed" and seconds is None:
                self.unknown.add(node.stage)
            elif seconds and length is not None:
                seconds *= _share_of_length(node, length)
            home = pool.home_of[node.stage]
            self.busy[home] = self.busy.get(home, 0.0) + (seconds or 0.0)


async def _price(
    rows: JobRows,
    chosen: Sequence[Row],
    count: int,
    scheduler: Scheduler,
    pool: Pool,
    audio: str,
    seen: Mapping[str, float],
) -> Price:
    sums = _Sample()
    for row in chosen:
        try:
            plan = lay_out(rows.scope, opened(row.inputs, rows.declared))
        except InputError as error:  # only the files of its inputs tell
            sums.refused.append(f"line {row.line}: {error}")
            continue
        sums.add(row, await forecast(plan, scheduler), pool, seen, _seconds(rows, row))
    scale = count / max(1, len(chosen))
    busy = {name: seconds * scale for name, seconds in sums.busy.items()}
    lengths = [_seconds(rows, row) for row in chosen]
    known = [length for length in lengths if length is not None]
    total = sum(known) / len(known) * count if known else None
    return Price(
        rows=count,
        sampled=len(chosen),
        nodes=sum(sums.nodes.values()),
        cached=sums.nodes["cached"],
        busy=busy,
        hours=max((seconds / pool.processes[name].most for name, seconds in busy.items()), default=0.0) / 3600,
        unknown=tuple(sorted(sums.unknown)),
        audio_hours=None if total is None else total / 3600,
        disk=None if total is None else int(total * BYTES_PER_SECOND[audio]),
        refused=tuple(sums.refused),
    )


def price_lines(price: Price, per_hour: float | None = None) -> Iterator[str]:
    """A price as lines for people.

    Args:
        per_hour: money for an hour of the machine, in any currency; None: no sum is given.
    """
    if not price.rows:
        yield "0 songs: nothing is left to make"
        return
    songs = f"{price.rows} song{'' if price.rows == 1 else 's'}"
    yield songs if price.sampled >= price.rows else f"{songs}, estimated from a sample of {price.sampled}"
    stages = "stage" if len(price.unknown) == 1 else "stages"
    unknown = f" of the {stages} {', '.join(price.unknown)}" if price.hours else ""
    if price.unknown:
        alike = " with as many steps" if price.hours and any(map(_has_steps, price.unknown)) else ""
        yield f"time{unknown}: not known before a first run on this machine{alike}"
    if price.hours or not price.unknown:
        beside = " for the rest" if price.unknown else ""
        yield f"time: about {_hours(price.hours)}{beside}, and the start"
    for name, seconds in sorted(price.busy.items(), key=lambda part: -part[1]):
        if seconds:
            yield f"  work of process {name}: {_hours(seconds / 3600)}, shared by all its copies"
    if per_hour is not None:
        yield _cost(price, per_hour)
    if price.audio_hours is not None and price.disk is not None:
        yield f"music: {_hours(price.audio_hours)}, about {_size(price.disk)} of audio files"
    else:
        yield "music: length not known before the run"
    yield from (f"would fail: {reason}" for reason in price.refused)


def _cost(price: Price, per_hour: float) -> str:
    """The line that says what the job costs."""
    if price.unknown and not price.hours:
        return "cost: not known, as no time is"
    money = price.hours * per_hour
    if 0 < money < 0.01:
        words = "less than 0.01 for the rest" if price.unknown else "less than 0.01"
    else:
        words = f"{'at least' if price.unknown else 'about'} {money:,.2f}"
    return f"cost: {words}, at {per_hour:g} an hour"


def _has_steps(stage: str) -> bool:
    return "steps" in registry()[stage].Params.model_fields


def _share_of_length(node: NodeForecast, length: float) -> float:
    """How long a song is, by the songs that its stage was timed with: these are known by the bytes of its outputs."""
    types = [port.type.kind for port in registry()[node.stage].outputs().values()]
    kinds = [kind for kind in types if kind in BYTES_OF_VALUES]
    if node.nbytes is None or len(kinds) != 1:
        return 1.0
    return share_of_length(length, node.nbytes / BYTES_OF_VALUES[kinds[0]])


def _problems(row_forecast: Forecast) -> list[str]:
    return [node.problem for node in row_forecast.nodes if node.fate == "refused"]


def _seconds(rows: JobRows, row: Row) -> float | None:
    """How long a song will be, where the graph has an input that says so."""
    declared = rows.declared.get("duration")
    length = row.inputs.get("duration", declared.default if declared else None)
    return float(length) if isinstance(length, (int, float)) and not isinstance(length, bool) else None


def _hours(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.1f} s"
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h"


def _size(nbytes: float) -> str:
    units = ("bytes", "kB", "MB", "GB")
    steps = 0
    while nbytes >= 1000 and steps < len(units) - 1:
        nbytes, steps = nbytes / 1000, steps + 1
    return f"{nbytes:.3g} {units[steps]}"
