"""How much of a change of tempo or style a checkpoint makes at high noise; see `training.kinds.projection`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from torch import Tensor

from acestep_flows.model.adapter_file import FILE
from acestep_flows.model.adapters import Adapter
from acestep_flows.model.beat_conditioning import beat_conditioning
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.control import ControlBranch
from acestep_flows.model.layout import TRANSFORMER
from acestep_flows.model.placement import Placement
from acestep_flows.sampling.schedule import TRAINING_STEPS
from acestep_flows.training.kinds import training_forward
from acestep_flows.training.kinds.beat_branch import branch_tokens
from acestep_flows.training.kinds.conditions import Blanks, ConditionSettings, LyricIds, pad_rows
from acestep_flows.training.kinds.networks import TrainingNetworks, WordTokens
from acestep_flows.training.kinds.projection import measure_projections
from acestep_flows.training.kinds.song_batch import SongBatch, SongTarget
from benchmarks.nano.material import Material
from benchmarks.nano.table import Score

PAIRS = 6
"""Pairs of clips of each style and half."""


class FinishedModel:
    """A checkpoint in the form that `measure_projections` asks questions of.

    Without `control` its own transformer answers; with it, the transformer under the branch's adapter.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        import torch

        self.device, self.checkpoint = "cpu", checkpoint
        self._networks = TrainingNetworks.load(checkpoint, self.device)
        self._lyrics = LyricIds(self._networks.lyric_tokenizer, ConditionSettings(lyric_rule="inference"))
        self._torch = torch
        self.branch: ControlBranch | None = None
        self._guided = self._networks.transformer
        own = beat_conditioning(checkpoint)
        if own is not None:
            folder, config = checkpoint.extras.find("controls", own.control_branch), checkpoint.config(TRANSFORMER)
            self.branch, self._scale = ControlBranch.load(folder, config, Placement()), own.scale
            if (folder / FILE).is_file():
                adapter = Adapter.load(folder, config, checkpoint.digest(TRANSFORMER))
                self._guided = adapter.apply(self._networks.transformer)

    def autocast(self) -> Any:
        """Nothing: it computes in float32."""
        return nullcontext()

    def tokenize(self, targets: list[SongTarget], blanks: Blanks) -> WordTokens:
        """Prompts and lyrics of `targets` as token ids."""
        text_ids, text_mask = self._networks.text_encoder.tokenize([target.prompt for target in targets])
        ids, masks = zip(*(self._lyrics.of(target.lyrics) for target in targets), strict=True)
        lyric_ids, lyric_mask = (self._torch.from_numpy(pad_rows(rows)) for rows in (ids, masks))
        return WordTokens(text_ids, text_mask, lyric_ids, lyric_mask, blanks)

    def velocity(self, batch: SongBatch, noisy: Tensor, levels: Tensor) -> Tensor:
        """The predicted velocity (B, 8, 16, T) at noise levels (B,)."""
        condition = self._networks.condition(batch.words)
        if batch.control is None or self.branch is None:
            return training_forward.predict(self._networks.transformer, noisy, TRAINING_STEPS * levels, condition)[0]
        tokens, strength = branch_tokens(self.branch, batch, self.device)
        scale = self._scale * strength
        return training_forward.predict(
            self._guided,
            noisy,
            TRAINING_STEPS * levels,
            condition,
            control=tokens,
            control_scale=scale,
        )[0]


def projections(material: Material) -> list[Score]:
    """Changes of the estimate at noise 1 and 0.97, projected on the true ones: 1 is learnt, 0 is no effect."""
    model = FinishedModel(material.player.checkpoint)
    measured = measure_projections(model, PAIRS, beats=model.branch is not None)
    aims = {"tempo_by_beat_1.0": 0.5, "tempo_by_text_1.0": 0.05, "style_by_text_1.0": 0.5}
    return [
        Score(
            f"projection at noise {name.rpartition('_')[2]}: {name.rpartition('_')[0].replace('_', ' ')}",
            value, 0.0, 1.0, aim=(">=", aims[name]) if name in aims else None, clips=8 * PAIRS,
        )
        for name, value in measured.items()
    ]  # fmt: skip
