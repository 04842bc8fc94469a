"""Reads what a server says about its model from the weights that its pool names."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from acestep_flows.api.http.model_card import ModelCard
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.settings import Settings
from acestep_flows.weights.choose import choose_weights


class ModelReader:
    """Describes the model of a pool. No weights are loaded."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool, self._settings = pool, settings

    def card(self) -> ModelCard:
        """The model's card. Adapters and control branches are those that are installed now.

        Raises:
            CheckpointError: the weights are not usable.
        """
        vocab = None if self._pool.lyric_vocab is None else Path(self._pool.lyric_vocab)
        weights = choose_weights(self._settings, self._pool.checkpoint, vocab)
        return ModelCard(
            name=weights.model,
            notes=weights.notes,
            sampling=self._sampling,
            adapters=tuple(self._checkpoint.extras.names("adapters")),
            controls=tuple(self._checkpoint.extras.names("controls")),
        )

    @cached_property
    def _checkpoint(self) -> Any:  # a model.checkpoint.Checkpoint, which this layer only hands on
        from acestep_flows.runtime.serving.stage_host import open_checkpoint

        return open_checkpoint(self._pool)

    @cached_property
    def _sampling(self) -> dict[str, Any]:
        from acestep_flows.stages.diffusion import sampler_options

        options: dict[str, Any] = sampler_options(self._checkpoint, {}).model_dump(mode="json")
        return options
