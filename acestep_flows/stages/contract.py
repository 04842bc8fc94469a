"""The stage contract: a typed, deterministic function over a batch of songs, with a model behind it.

A stage declares its ports (`In`, `Out`) and parameters (`Params`) once; the graph checker, the HTTP schema, the
command line and the docs are generated from them. Stages know nothing of graphs and nothing of where they run.
Modules of this package import torch only inside `load` and `run`: declaring a stage must stay cheap.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from acestep_flows.stages.ports import PortType, port_type

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.placement import Placement
    from acestep_flows.values import Latents


class StageParams(BaseModel):
    """Base of every stage's parameters: unknown names are refused, instances do not change.

    Attributes:
        added_later: parameters that the stage got without a new version, because their defaults change no result.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    added_later: ClassVar[frozenset[str]] = frozenset()

    def key_content(self) -> dict[str, Any]:
        """The parameters as JSON for cache keys, without those added later where they have their defaults.

        So the results that were stored before such a parameter was added are still found.
        """
        content = self.model_dump(mode="json")
        fields = type(self).model_fields
        unchanged = {name for name in self.added_later if getattr(self, name) == fields[name].get_default()}
        return {name: part for name, part in content.items() if name not in unchanged}


class Watch:
    """Progress of a running stage, and the way to stop it. This base class ignores all progress.

    Attributes:
        preview_every: steps between two previews; 0: none.
    """

    preview_every: int = 0

    def step(self, item: int, done: int, total: int) -> None:
        """Item `item` of the batch has made `done` of `total` steps.

        Raises:
            Cancelled, DeadlineExceeded: the item must stop here; the stage returns the error in the item's place.
        """

    def forward_pass(self, items: int) -> None:
        """A forward pass of this many items was made. Only stages whose `batches_items` is true report it."""

    def preview(self, item: int, done: int, total: int, latents: Latents) -> None:
        """The present estimate of item `item` of the batch. Only stages that sample have previews."""


IGNORE_PROGRESS = Watch()


@dataclass(frozen=True)
class Port:
    """One declared input, parameter or output of a stage."""

    name: str
    type: PortType
    required: bool
    description: str = ""
    schema: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    """JSON Schema of a parameter (bounds, choices, default); empty for ports that carry values."""


class Stage:
    """Base of all stages.

    Attributes:
        name: the word used in graphs.
        version: raised whenever the same inputs give another output; part of every cache key.
        parts: the folders of the checkpoint whose weights the stage reads; part of the weights digest.
        batches_items: whether items of one batch share forward passes. Then each output is within 1e-5 (fp32) of that
            of the item alone, but not bit for bit.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    parts: ClassVar[tuple[str, ...]] = ()
    batches_items: ClassVar[bool] = False

    @dataclass(frozen=True)
    class In:
        pass

    class Params(StageParams):
        pass

    @dataclass(frozen=True)
    class Out:
        pass

    def load(self, checkpoint: Checkpoint, placement: Placement) -> None:
        """Read the weights this stage needs, and only those, onto `placement`. Called once, before `run`."""

    def run(self, batch: Sequence[Any], params: Sequence[Any], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        """One `Out` per `In`, in order; a failing item gives a `FlowsError` in its place and harms no other."""
        raise NotImplementedError

    @classmethod
    def size(cls, item: Any) -> int:
        """The size of an item in a batch, 1 at least; more for long music."""
        return 1

    @classmethod
    def weights(cls, checkpoint: Checkpoint, params: StageParams) -> tuple[str, ...]:
        """Digests of every weights file the result depends on (also adapters that `params` name)."""
        return tuple(checkpoint.digest(part) for part in cls.parts)

    @classmethod
    def warnings(cls, params: Any) -> tuple[str, ...]:
        """What a user must know of a call with these parameters before it runs."""
        return ()

    @classmethod
    def notes(cls, checkpoint: Checkpoint, params: Any) -> tuple[str, ...]:
        """What a user should know of a call with these parameters and these weights before it runs. Loads nothing."""
        return ()

    @classmethod
    @cache
    def inputs(cls) -> dict[str, Port]:
        """Everything a graph node may take in `with:`, ports first, then parameters."""
        hints = typing.get_type_hints(cls.In)
        ports = {
            field.name: Port(
                field.name,
                port_type(hints[field.name]),
                field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
                field.metadata.get("description", ""),
            )
            for field in dataclasses.fields(cls.In)
        }
        hints = typing.get_type_hints(cls.Params, include_extras=True)
        schemas = cls.Params.model_json_schema().get("properties", {})
        for name, info in cls.Params.model_fields.items():
            assert name not in ports, f"{cls.name}.{name} is both a port and a parameter"
            ports[name] = Port(
                name, port_type(hints[name]), info.is_required(), info.description or "", schemas.get(name, {})
            )
        return ports

    @classmethod
    @cache
    def outputs(cls) -> dict[str, Port]:
        """The ports a node of this stage offers."""
        hints = typing.get_type_hints(cls.Out)
        return {
            field.name: Port(field.name, port_type(hints[field.name]), True, field.metadata.get("description", ""))
            for field in dataclasses.fields(cls.Out)
        }
