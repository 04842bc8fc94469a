"""The pool file: which stages share a process, on what hardware, and within which budgets.

    name: split
    processes:
      encoders: {stages: [encode_prompt, encode_lyrics, init_noise, encode_audio, beat]}
      sampler:  {stages: [sample, repaint, edit], gpus: 1, device: cuda, dtype: bfloat16}
      ...

It says where and how many, never what is computed: graphs name no device, and a pool file names no sampling
parameter. Only `dtype`, `compile` and `fp8` touch the numbers, and they are part of every cache key. Reading one needs
neither torch nor Ray.
"""

from __future__ import annotations

import difflib
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, StringConstraints, ValidationError, model_validator

from acestep_flows.errors import InputError
from acestep_flows.runtime.serving.pool_problems import misplaced, problem_lines
from acestep_flows.runtime.serving.pool_process import CORES, Autoscaling, Machines, PoolSection, Process
from acestep_flows.stages.contract import Stage

__all__ = [
    "AUTO",
    "CORES",
    "SHIPPED",
    "Autoscaling",
    "EngineSection",
    "KeepSection",
    "LimitsSection",
    "Pool",
    "Process",
    "shipped",
]

MAX_BYTES = 1_000_000
SUFFIXES = (".yaml", ".yml")

AUTO = "auto"
"""In place of a pool's name: the pool that suits the machine."""

LONG_FRAMES = 215
"""Frames (20 s) from which on passes that songs share save a processor less than a tenth of its work."""

ProcessName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


class EngineSection(PoolSection):
    """The step engine of every process that samples: many songs advance together, a step at a time."""

    tokens: int = Field(
        8192,
        ge=64,
        le=10_000_000,
        description="Latent frames times guidance branches that one forward pass may hold; a larger song goes alone.",
    )
    songs: int = Field(64, ge=1, le=10_000, description="Songs under way in one process; further ones wait.")
    lanes: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Forward passes side by side, over which the rows of all songs are spread; absent: as many as the "
        "process has threads on a CPU, one on a GPU.",
    )
    padding: int = Field(
        64,
        ge=0,
        le=1_000_000,
        description="Frames of padding up to which rows of unequal length share a forward pass; more on a GPU.",
    )
    share_below: int | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description="Frames from which on a song shares no forward pass, and so comes out bit for bit as it would "
        "alone; 0: no song shares; absent: 215 (20 s) on a CPU, where long songs gain little; on a GPU all share.",
    )
    recordings_gb: float = Field(4.0, ge=0, le=1000, description="Memory of a GPU for recorded passes (CUDA graphs) by "
        "shape: rows of 1, 2, 4, 8, 16, 32 or 64, frames in steps of 64 up to 2,624; the least used go. 0: none.",
    )  # fmt: skip
    save_every: int = Field(
        10, ge=0, le=1000, description="Steps between saved states: what a killed process costs at most. 0: none."
    )


class KeepSection(PoolSection):
    """What the server keeps, in bytes and days. Nothing goes that a run waiting or working refers to."""

    days: float | None = Field(
        30.0, gt=0, le=36_500, description="How long uploads and outputs are kept; null: as long as there is room."
    )
    outputs_gb: float | None = Field(
        50.0,
        gt=0,
        le=1e6,
        description="Uploads, outputs and previews together; beyond, the oldest go. Null: without limit.",
    )
    cache_gb: float = Field(
        20.0,
        gt=0,
        le=1e6,
        description="Finished nodes together; beyond, the least recently used go, save what runs at work have used.",
    )


class LimitsSection(PoolSection):
    """What a server takes on. `running` is of each server, `queued` and `keep` are of the whole table.

    A server is one `acestep-flows serve`, or one replica of an ingress.
    """

    running: int = Field(8, ge=1, le=100_000, description="Runs that each server of the table has under way at once.")
    queued: int = Field(200, ge=0, le=1_000_000, description="Runs of the table that may wait; more are turned away.")
    preview_seconds: float = Field(
        60.0, gt=0, le=600, description="How much of a song, from its start, its previews let one hear."
    )
    wait_seconds: float = Field(300, gt=0, le=3600, description="Longest wait of a request for its run.")
    upload_mb: int = Field(200, ge=1, le=100_000, description="Largest upload, in megabytes.")
    keep: KeepSection = Field(KeepSection(), description="What is kept, and how long.")


class Pool(PoolSection):
    """A pool file, checked: every stage there is has exactly one place."""

    name: str = Field(
        "pool", pattern=r"^[a-z][a-z0-9-]{0,39}$", description="What the pool is called; absent: as its file."
    )
    version: Literal[1] = Field(1, description="Version of this format.")
    summary: str = Field("", max_length=500, description="What the pool is for.")
    checkpoint: str | None = Field(
        None,
        description="Folder of the weights, ORG/NAME, or 'embedded'; absent: environment's, fetched, or embedded ones.",
    )
    lyric_vocab: str | None = Field(None, description="Lyric vocabulary, where it does not lie in the checkpoint.")
    extras: tuple[str, ...] = Field((), description="Folders with adapters and control branches, beside the weights'.")
    processes: dict[ProcessName, Process] = Field(min_length=1, description="Processes by name.")
    machines: tuple[Machines, ...] = Field(
        (), description="Machines that the pool is for: on each of these it has room, in whatever order it starts."
    )
    engine: EngineSection = Field(EngineSection(), description="The step engine.")
    limits: LimitsSection = Field(LimitsSection(), description="What the server takes on.")

    @model_validator(mode="before")
    @classmethod
    def _later_stages_beside_others(cls, content: Any) -> Any:
        return _with_later_stages(content)

    @model_validator(mode="after")
    def _every_stage_has_one_place(self) -> Self:
        if problems := list(misplaced({name: process.stages for name, process in self.processes.items()})):
            raise ValueError("; ".join(problems))
        return self

    @classmethod
    def read(cls, name_or_path: str | Path) -> Pool:
        """A pool file, by path, or a shipped one by name.

        Raises:
            InputError: there is none, or it is not usable; says everything that is wrong with it.
        """
        path = _found(name_or_path)
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
            parsed = yaml.safe_load(content) if len(content) <= MAX_BYTES else None
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise InputError(f"not readable: {' '.join(str(error).split())}", where=str(path)) from None
        if not isinstance(parsed, dict):
            raise InputError("no map of settings", where=str(path), allowed="a pool file")
        return cls.checked({"name": _name_of(path)} | parsed, str(path))

    @classmethod
    def checked(cls, content: Any, where: str = "pool") -> Pool:
        """A pool from parsed YAML or JSON.

        Raises:
            InputError: with everything that is wrong with it.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise InputError("; ".join(problem_lines(error, cls)), where=where) from None

    @cached_property
    def home_of(self) -> dict[str, str]:
        """Name of the process by stage."""
        return {stage: name for name, process in self.processes.items() for stage in process.stages}

    def process(self, stage: type[Stage]) -> Process:
        """The process that runs `stage`."""
        return self.processes[self.home_of[stage.name]]

    def lanes(self, process: Process) -> int:
        """Forward passes that `process` makes side by side."""
        if self.engine.lanes is not None:
            return self.engine.lanes
        return process.torch_threads if process.device == "cpu" else 1

    def share_below(self, process: Process) -> int | None:
        """Frames from which on songs of `process` share no forward pass; None: all songs share."""
        if self.engine.share_below is not None:
            return self.engine.share_below
        return LONG_FRAMES if process.device == "cpu" else None

    @property
    def cpus(self) -> float:
        """Cores that all replicas reserve, at the most."""
        return sum(process.cpus * process.most for process in self.processes.values())

    @property
    def gpus(self) -> float:
        """GPUs that all replicas reserve, at the most."""
        return sum(process.gpus * process.most for process in self.processes.values())


def shipped() -> Path:
    """The folder of the pools that come with the package: inside it in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[2]
    return package / "deployments" if (package / "deployments").is_dir() else package.parent / "deployments"


def _found(name_or_path: str | Path) -> Path:
    name = str(name_or_path)
    is_path = isinstance(name_or_path, Path) or "/" in name or name.endswith(SUFFIXES)
    path = Path(name) if is_path else shipped() / f"{name}.yaml"
    if not (is_path or name in SHIPPED) or "\0" in name or not path.is_file():
        allowed = f"{AUTO}, a file, or one of {', '.join(SHIPPED)}"
        near = difflib.get_close_matches(name[:40], (AUTO, *SHIPPED), 1)
        hint = f", did you mean {near[0]!r}?" if near and not is_path else ""
        raise InputError(f"no pool {name[:200]!r}{hint}", where="pool", allowed=allowed)
    return path


def _name_of(path: Path) -> str:
    """The name of a pool whose file gives none: that of the file, as far as a pool may be called so."""
    return re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-0123456789")[:40].rstrip("-") or "pool"


SHIPPED = ("local", "split", "single-gpu", "gpu-pool", "per-core", "gpu-scaling")
"""The pools that come with the package; the folder holds other files too."""


LATER_STAGES = {"keep_outside": "mix"}
"""Stages without weights that pool files written for 0.1.0 do not name, and beside which stage each runs then."""


def _with_later_stages(content: Any) -> Any:
    """A pool as parsed, with the later stages that it does not name; whatever is no pool stays as it is."""
    try:
        processes = dict(content["processes"])
        home_of = {stage: name for name, process in processes.items() for stage in process["stages"]}
        for later, beside in LATER_STAGES.items():
            if later not in home_of and beside in home_of:
                process = processes[home_of[beside]]
                processes[home_of[beside]] = {**process, "stages": [*process["stages"], later]}
    except (TypeError, KeyError, AttributeError):
        return content
    return {**content, "processes": processes}
