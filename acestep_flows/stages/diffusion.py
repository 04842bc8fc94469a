"""The common part of `sample`, `repaint` and `edit`: one transformer, and songs to denoise.

A subclass only says which trajectory a song takes and under which conditions. The step engine of a served process uses
the same `song` and `finish`, so that both give the same numbers.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, ValidationError

from acestep_flows.errors import CheckpointError
from acestep_flows.model.layout import TRANSFORMER
from acestep_flows.sampling.options import GuidanceChoices, SamplerOptions, StepOptions
from acestep_flows.stages.adapted_networks import AdapterCache, LruCache
from acestep_flows.stages.batching import run_item
from acestep_flows.stages.contract import IGNORE_PROGRESS, Stage, StageParams, Watch
from acestep_flows.stages.weights_name import WeightsName
from acestep_flows.values import Latents
from acestep_flows.wording.faults import data_faults

if TYPE_CHECKING:
    from torch import Tensor

    from acestep_flows.model.adapters import Adapter
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.condition import ConditionProjector
    from acestep_flows.model.control import ControlBranch
    from acestep_flows.model.placement import Placement
    from acestep_flows.model.transformer import Transformer
    from acestep_flows.sampling.branches import Branches
    from acestep_flows.sampling.denoiser import TransformerDenoiser
    from acestep_flows.sampling.trajectory import State, Trajectory


SAMPLING = "sampling"
"""Key of the transformer's config that holds the model's own guidance settings."""


class DiffusionParams(GuidanceChoices, StepOptions, StageParams):
    """Sampler options, and the adapter on the base weights."""

    adapter: WeightsName | None = Field(
        None, description="LoRA adapter, by name; in process also by folder.", json_schema_extra={"format": "path"}
    )
    adapter_weight: float = Field(1.0, ge=-10, le=10, description="Factor on the adapter's own scaling.")


@dataclass(frozen=True, eq=False)
class Control:
    """Control tokens (T, D), or None, their strength, and the least timestep at which they are heard."""

    tokens: Tensor | None = None
    scale: float = 1.0
    until: float = 0.0


@dataclass(frozen=True, eq=False)
class DenoisingSong:
    """One item before its first step: its trajectory, and who answers its queries."""

    trajectory: Trajectory
    denoise: TransformerDenoiser


@dataclass(eq=False)
class DenoisingNetworks:
    """The denoising half of the checkpoint, shared by every diffusion stage of a process."""

    transformer: Transformer
    projector: ConditionProjector
    adapted: AdapterCache[DenoisingNetworks] = field(default_factory=AdapterCache)
    adapted_for_control: LruCache[DenoisingNetworks] = field(default_factory=LruCache)
    controls: LruCache[ControlBranch] = field(default_factory=LruCache)

    def under_adapter(self, checkpoint: Checkpoint, adapter: str | None, weight: float) -> DenoisingNetworks:
        """These networks, or twins that share their weights and carry an adapter."""

        def twin(loaded: Adapter) -> DenoisingNetworks:
            return DenoisingNetworks(loaded.apply(self.transformer, weight), loaded.apply(self.projector, weight))

        return self.adapted.under(checkpoint, self, adapter, weight, twin)

    def for_control(self, checkpoint: Checkpoint, control: str | None) -> DenoisingNetworks:
        """These networks, or twins under the adapter that was trained with a control branch, if there is one."""
        if control is None:
            return self
        from acestep_flows.model.adapter_file import FILE
        from acestep_flows.model.adapters import Adapter

        folder = checkpoint.extras.find("controls", control)
        if not (folder / FILE).is_file():
            return self

        def make() -> DenoisingNetworks:
            adapter = Adapter.load(folder, checkpoint.config(TRANSFORMER), checkpoint.digest(TRANSFORMER))
            checkpoint.check_extra("controls", control, content)
            return DenoisingNetworks(adapter.apply(self.transformer), adapter.apply(self.projector))

        content = checkpoint.extra_digest("controls", control)
        return self.adapted_for_control.get(content, make)

    def control(self, checkpoint: Checkpoint, name: str, placement: Placement) -> ControlBranch:
        """The control branch called `name`."""

        def make() -> ControlBranch:
            from acestep_flows.model.control import ControlBranch

            folder = checkpoint.extras.find("controls", name)
            branch = ControlBranch.load(folder, checkpoint.config(TRANSFORMER), placement)
            checkpoint.check_extra("controls", name, content)
            return branch

        content = checkpoint.extra_digest("controls", name)
        return self.controls.get(content, make)


_SHARED: weakref.WeakValueDictionary[tuple[str, Placement], DenoisingNetworks] = weakref.WeakValueDictionary()
_SHARED_LOCK = threading.Lock()


def shared_networks(checkpoint: Checkpoint, placement: Placement) -> DenoisingNetworks:
    """The networks of these weights on this placement: loaded once per process, dropped with their last stage."""
    from acestep_flows.model.condition import ConditionProjector
    from acestep_flows.model.fastest_products import use_fastest_products
    from acestep_flows.model.transformer import Transformer

    key = checkpoint.digest(TRANSFORMER), placement
    with _SHARED_LOCK:
        if (networks := _SHARED.get(key)) is None:
            transformer = Transformer.load(checkpoint, placement)
            use_fastest_products(transformer.blocks, placement)
            networks = DenoisingNetworks(transformer, ConditionProjector.load(checkpoint, placement))
            _SHARED[key] = networks
        return networks


class DiffusionStage(Stage):
    """Base of the stages that denoise. Subclasses give `branches`, `trajectory` and `finish`."""

    parts: ClassVar[tuple[str, ...]] = (TRANSFORMER,)

    def load(self, checkpoint: Checkpoint, placement: Placement) -> None:
        self.checkpoint, self.placement = checkpoint, placement
        self.networks = shared_networks(checkpoint, placement)

    def run(self, batch: Sequence[Any], params: Sequence[Any], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        """All songs together, as far as they share forward passes; each comes out as it would alone."""
        from acestep_flows.sampling.active_song import ActiveSong
        from acestep_flows.sampling.loop import DEVICE_SONGS, DEVICE_TOKENS, SONGS, TOKENS, denoise_all
        from acestep_flows.sampling.row_batching import RowBatcher

        def begin(index: int) -> ActiveSong:
            song = self.song(batch[index], params[index])
            watch.step(index, 0, song.trajectory.steps)
            return ActiveSong.begin(song.trajectory, song.denoise)

        def on_step(index: int, song: ActiveSong) -> None:
            step, steps = song.state.step, song.trajectory.steps
            watch.step(index, step, steps)
            if watch.preview_every and step % watch.preview_every == 0 and not song.done:
                watch.preview(index, step, steps, preview_of(song.trajectory.estimate(song.state)))

        def end(index: int, song: ActiveSong | Exception) -> Any:
            if isinstance(song, Exception):
                raise song
            return self.finish(batch[index], params[index], song.trajectory, song.state)

        begins = [partial(begin, index) for index in range(len(batch))]
        device = self.placement.device
        tokens, songs = (TOKENS, SONGS) if device.startswith("cpu") else (DEVICE_TOKENS, DEVICE_SONGS)
        ended = denoise_all(begins, on_step, RowBatcher.on(device), tokens=tokens, songs=songs)
        outs = {index: run_item(self.name, end, index, song) for index, song in ended}
        return [outs[index] for index in range(len(batch))]

    @classmethod
    def weights(cls, checkpoint: Checkpoint, params: Any) -> tuple[str, ...]:
        """The base weights and the adapter's."""
        adapter = () if params.adapter is None else (checkpoint.extra_digest("adapters", params.adapter),)
        return (*super().weights(checkpoint, params), *adapter)

    def song(self, item: Any, params: Any) -> DenoisingSong:
        """The item's trajectory, and the transformer under its encoded conditions."""
        from acestep_flows.sampling.denoiser import TransformerDenoiser, encode_conditions

        trajectory = self.trajectory(item, params)
        networks = self.networks.under_adapter(self.checkpoint, params.adapter, params.adapter_weight)
        networks = networks.for_control(self.checkpoint, self.control_adapter(item, params))
        memories = encode_conditions(networks.transformer, networks.projector, self.branches(item, params))
        control = self.control(item, params, trajectory.frames)
        denoiser = TransformerDenoiser(
            networks.transformer, memories, control.tokens, control.scale, control_until=control.until
        )
        return DenoisingSong(trajectory, denoiser)

    def control_adapter(self, item: Any, params: Any) -> str | None:
        """Name of the control branch whose adapter the networks get; most tasks have none."""
        return None

    def control(self, item: Any, params: Any, frames: int) -> Control:
        """What a song of `frames` hears beside its noise; most tasks hear nothing."""
        return Control()

    def options(self, params: DiffusionParams) -> SamplerOptions:
        """The chosen options; those left out come from the model's config, else from the defaults.

        Raises:
            CheckpointError: the model's config has a setting that no sampler knows.
        """
        fields = SamplerOptions.model_fields
        return sampler_options(
            self.checkpoint, {name: value for name in fields if (value := getattr(params, name)) is not None}
        )

    def guidance(self, params: DiffusionParams) -> dict[str, Any]:
        """The guidance settings, for the report."""
        return self.options(params).model_dump(include=set(GuidanceChoices.model_fields))

    def branches(self, item: Any, params: Any) -> Branches:
        """The conditions of every guidance branch."""
        raise NotImplementedError

    def trajectory(self, item: Any, params: Any) -> Trajectory:
        """The trajectory of the item."""
        raise NotImplementedError

    def finish(self, item: Any, params: Any, trajectory: Trajectory, state: State) -> Any:
        """The `Out` of a song that is done."""
        raise NotImplementedError


def latents_of(trajectory: Trajectory, state: State) -> Latents:
    """The song as a value."""
    return Latents(trajectory.estimate(state).contiguous().numpy())


def preview_of(estimate: Tensor) -> Latents:
    """An estimate as a value: a copy, as the song goes on."""
    return Latents(estimate.clone().contiguous().numpy())


def sampler_options(checkpoint: Checkpoint, chosen: Mapping[str, Any]) -> SamplerOptions:
    """`chosen` sampling options; those left out come from the model's config, else from the defaults.

    Raises:
        CheckpointError: the model's config has a setting that no sampler knows.
    """
    try:
        own = GuidanceChoices.model_validate(checkpoint.config(TRANSFORMER).get(SAMPLING, {}))
        return SamplerOptions.model_validate(own.model_dump(exclude_none=True) | dict(chosen))
    except ValidationError as error:
        first = data_faults(error)[0]
        where = f"{TRANSFORMER}/config.json: {SAMPLING}.{first.where}"
        allowed = first.allowed or ", ".join(GuidanceChoices.model_fields)
        raise CheckpointError(first.what, where=where, allowed=allowed) from None
