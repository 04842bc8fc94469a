"""One kind of process in a pool file: its stages, its replicas, and what each of them takes of which machines."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from acestep_flows.model.placement import Dtype, Placement

CORES = "cores"
"""In place of a number of replicas: one for each core of the machine that reads the file."""

RESERVED = {"CPU": "cpus", "GPU": "gpus", "memory": "none, Ray keeps it", "object_store_memory": "none, Ray keeps it"}
"""Names of resources that Ray itself counts, and the settings for them."""


def _replicas(value: Any) -> Any:
    if value != CORES:
        return value
    from acestep_flows.model.machine import usable_cores

    return usable_cores()


class PoolSection(BaseModel):
    """Base of everything in a pool file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Amounts = dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z][\w.:/-]{0,62}$")], Annotated[float, Field(gt=0)]]
"""Amounts of resources by name."""

Labels = dict[Annotated[str, StringConstraints(min_length=1, max_length=253)], Annotated[str, Field(max_length=500)]]
"""Values of labels by key."""


class Machines(PoolSection):
    """Machines that a pool is for, all alike."""

    count: int = Field(1, ge=1, le=1000, description="How many.")
    cpus: float = Field(gt=0, le=4096, description="Cores of each that Ray may give away.")
    gpus: int = Field(0, ge=0, le=64, description="GPUs of each.")


class Autoscaling(PoolSection):
    """Replicas by load."""

    minimum: int = Field(1, ge=0, le=1000, description="Replicas when idle; 0: the first call waits for a start.")
    maximum: int = Field(ge=1, le=1000, description="Replicas under load.")
    target: float = Field(4.0, gt=0, le=1000, description="Calls under way per replica that are aimed at.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}")
        return self


class Process(PoolSection):
    """One kind of process: the stages it runs, which share their weights, and what each replica of it takes."""

    stages: tuple[str, ...] = Field(min_length=1, description="Names of the stages that run in this process.")
    replicas: Annotated[int, BeforeValidator(_replicas)] = Field(
        1, ge=1, le=1000, description="How many processes of this kind; `cores`: one for each core."
    )
    autoscaling: Autoscaling | None = Field(None, description="Replicas by load, in place of `replicas`.")
    cpus: float = Field(1.0, ge=0, le=1024, description="Cores that each replica reserves; bookkeeping, not a fence.")
    gpus: float = Field(0.0, ge=0, le=64, description="GPUs that each replica reserves; a fraction shares one.")
    resources: Amounts = Field(
        {}, description="Resources of your own that each replica reserves; it runs only on machines that have them."
    )
    labels: Labels = Field(
        {},
        description="Labels of the machines that it may run on, as Ray's selectors: `a`, `!a`, `in(a,b)`, `!in(a,b)`.",
    )
    accelerator_type: str | None = Field(
        None, pattern=r"^[A-Za-z0-9][\w.-]{0,62}$", description="Kind of GPU that it needs, by Ray's name, as `H100`."
    )
    device: Literal["cpu", "cuda", "mps"] = Field("cpu", description="Where its networks compute.")
    dtype: Dtype = Field("float32", description="Precision of its networks; part of every cache key.")
    compile: bool = Field(False, description="Whether to torch.compile the denoiser; part of every cache key.")
    fp8: bool = Field(False, description="Whether the denoiser multiplies in fp8, on GPUs that can; as `compile`.")
    threads: int | None = Field(
        None, ge=1, le=1024, description="Threads of one operation of torch or numpy; absent: `cpus`."
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Calls at once, those in the step engine not counted; absent: one on a CPU, two on a GPU.",
    )

    batch: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Calls of a stage that encodes or decodes that may share a forward pass, music counted by half "
        "minutes; absent: 1 on a CPU, where little is won and sharing shows in last digits, 8 on a GPU.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.device == "cuda") != (self.gpus > 0):
            raise ValueError(f"device {self.device} with {self.gpus:g} gpus: cuda and gpus belong together")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"{self.gpus:g} gpus: a fraction of one, or whole ones")
        if self.autoscaling is not None and "replicas" in self.model_fields_set:
            raise ValueError("replicas and autoscaling exclude each other")
        if reserved := sorted(self.resources.keys() & RESERVED):
            raise ValueError(f"resources: {reserved[0]} has a setting of its own: {RESERVED[reserved[0]]}")
        if broken := [name for name, amount in self.resources.items() if amount > 1 and amount != int(amount)]:
            raise ValueError(f"resources: {self.resources[broken[0]]:g} {broken[0]}: a fraction of one, or whole ones")
        return self

    @property
    def placement(self) -> Placement:
        """Where its networks are placed; which of several GPUs is for Ray to say."""
        return Placement(self.device, self.dtype, self.compile, self.fp8)

    @property
    def torch_threads(self) -> int:
        """Threads of one operation of torch or numpy."""
        return self.threads if self.threads is not None else max(1, int(self.cpus))

    @property
    def shared(self) -> int:
        """What may share a forward pass outside the step engine."""
        return self.batch if self.batch is not None else 1 if self.device == "cpu" else 8

    @property
    def pins(self) -> dict[str, Any]:
        """What keeps it to some machines, as options of Ray; empty where it may run on any."""
        options = {
            "resources": self.resources,
            "label_selector": self.labels,
            "accelerator_type": self.accelerator_type,
        }
        return {name: value for name, value in options.items() if value}

    @property
    def least(self) -> int:
        """Replicas at the least, and at the start."""
        return self.replicas if self.autoscaling is None else self.autoscaling.minimum

    @property
    def most(self) -> int:
        """Replicas at the most."""
        return self.replicas if self.autoscaling is None else self.autoscaling.maximum
