"""A job: everything that decides which songs it makes, stored as `job.json` beside its results.

A job that is started again goes on with what is missing. It must be the same job, so a changed manifest, graph, option
or checkpoint is refused, and the difference is shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from acestep_flows.bulk.gates import Gate
from acestep_flows.errors import InputError

DatasetLayout: TypeAlias = Literal["parquet", "webdataset", "ace-training"]
LAYOUTS: tuple[str, ...] = get_args(DatasetLayout)
FILE = "job.json"
SCHEMA = 1


@dataclass(frozen=True)
class Sweep:
    """One `--sweep`: an input and its values, checked against the graph."""

    name: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class ManifestSource:
    """The manifest, and its content when it was checked.

    Attributes:
        url: path or URL as given; empty for a job that is all constants and sweeps.
        rows: manifest rows, good and bad, before sweeps.
        columns: those that were read.
        digest: sha256 over all rows, in order.
    """

    url: str = ""
    rows: int = 1
    columns: tuple[str, ...] = ()
    digest: str = ""


@dataclass(frozen=True)
class Shard:
    """The part of a job that one machine renders: `number` (from 1) of `of`."""

    number: int = 1
    of: int = 1

    def holds(self, index: int) -> bool:
        """Whether the row at `index` is of this part."""
        return index % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True)
class BulkJob:
    """Everything that decides the songs of a job. The same job gives the same rows and songs, wherever it runs.

    Attributes:
        source: the manifest.
        graph, digest: name of the graph, and the sha256 that `layout.digest` gives.
        content: the graph with those it nests, as `graph_content` gives it.
        model: what recipes call the weights.
        weights: digest of each part of the checkpoint; empty where a server renders.
        stages: version of every stage that the graph names.
        seed: random seeds of rows are derived from this and the row's id.
        constants: inputs that `--set` gives to every row; files as absolute paths.
        sweeps: values by which every row is multiplied, the last one changing fastest.
        ignored: columns of the manifest that are no inputs and are allowed.
        on_bad_row: refuse the job, or skip the row (it lands in the dead-letter table).
        gates: conditions on the measurements of a song.
        retakes: how often a song that misses one is made again, with another seed.
        layout: form of the data set.
        audio: format of the audio files.
        embed: write the audio into the parquet files too.
        folder_size: rows that share an audio folder.
        audio_output: the graph's output that is the song.
    """

    source: ManifestSource
    graph: str
    digest: str
    content: Mapping[str, Any] = field(repr=False)
    model: str = ""
    weights: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    constants: Mapping[str, Any] = field(default_factory=dict)
    sweeps: tuple[Sweep, ...] = ()
    ignored: tuple[str, ...] = ()
    on_bad_row: Literal["refuse", "skip"] = "refuse"
    gates: tuple[Gate, ...] = ()
    retakes: int = 0
    layout: DatasetLayout = "parquet"
    audio: str = "flac"
    embed: bool = False
    folder_size: int = 1000
    audio_output: str = "audio"

    @property
    def combinations(self) -> int:
        """Songs that sweeps make of each manifest row."""
        count = 1
        for sweep in self.sweeps:
            count *= len(sweep.values)
        return count

    @property
    def rows(self) -> int:
        """Songs of the whole job, rows with problems included."""
        return self.source.rows * self.combinations

    def as_json(self) -> dict[str, Any]:
        """What `job.json` holds."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            "schema": SCHEMA,
            **plain,
            "source": {**vars(self.source), "columns": list(self.source.columns)},
            "content": dict(self.content),
            "weights": dict(self.weights),
            "stages": dict(self.stages),
            "constants": dict(self.constants),
            "sweeps": [{"name": sweep.name, "values": list(sweep.values)} for sweep in self.sweeps],
            "ignored": list(self.ignored),
            "gates": [vars(gate) for gate in self.gates],
        }


def read_job(content: Any, where: str = FILE) -> BulkJob:
    """The job in the JSON that `as_json` gave.

    Raises:
        InputError: it is no job, or one of another version.
    """
    if not isinstance(content, Mapping) or content.get("schema") != SCHEMA:
        raise InputError("holds no job of this version", where=where, allowed="a job.json as `bulk` writes it")
    plain = {name: part for name, part in content.items() if name != "schema"}
    try:
        source = dict(plain.pop("source"))
        return BulkJob(
            source=ManifestSource(**source | {"columns": tuple(source["columns"])}),
            sweeps=tuple(Sweep(part["name"], tuple(part["values"])) for part in plain.pop("sweeps")),
            ignored=tuple(plain.pop("ignored")),
            gates=tuple(Gate(**part) for part in plain.pop("gates")),
            **plain,
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"is not a whole job: {error}", where=where) from None


def parse_shard(text: str) -> Shard:
    """`3/16`: the third of sixteen parts.

    Raises:
        InputError: it is no such part.
    """
    number, slash, of = text.partition("/")
    if slash and number.strip().isdecimal() and of.strip().isdecimal() and len(text) < 20:
        shard = Shard(int(number), int(of))
        if 1 <= shard.number <= shard.of:
            return shard
    raise InputError(f"{text[:40]!r}", where="--shard", allowed="such as 3/16: the third of sixteen parts")


def to_text(job: BulkJob) -> str:
    """`job.json` as it is written: the same bytes for the same job."""
    return json.dumps(job.as_json(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
