"""Encode tags, a description or a scene with the UMT5 text encoder (spec 03 section 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from acestep_flows.stages.batching import run_groups
from acestep_flows.stages.caution import Caution
from acestep_flows.stages.contract import IGNORE_PROGRESS, Stage, StageParams, Watch
from acestep_flows.stages.text_params import PromptText
from acestep_flows.values import PromptStates

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.placement import Placement

WEAKENED = 0.01
"""ERG temperature: factor on the attention queries of the weakened variant (spec 02 section 3.1)."""

MOST_TAGS = 8
"""Unknown tags that one note names."""

NO_TAG_LEFT = Caution("tags: the model knows none of them, so they change nothing in the song")


class EncodePrompt(Stage):
    """Encode the prompt: comma-separated tags, free text or a scene, at most 256 tokens.

    The weakened variant that entropy rectifying guidance needs is also encoded, so that the sampler can choose.
    """

    name, version = "encode_prompt", 1
    parts = ("umt5-base",)
    batches_items = True

    class Params(StageParams):
        tags: PromptText = Field(
            description="Comma-separated tags, a description or a scene: 'funk, 105 BPM, female vocals'."
        )

    @dataclass(frozen=True)
    class Out:
        prompt: PromptStates

    @classmethod
    def notes(cls, checkpoint: Checkpoint, params: Any) -> tuple[str, ...]:
        """Which tags a model with a closed list of words does not know, and whether it knows none of them."""
        from acestep_flows.model.tag_words import TagWords

        words = TagWords.of(checkpoint)
        unknown = words.unknown(params.tags) if words is not None else []
        if words is None or not unknown:
            return ()
        shown = [f"{tag!r}{f' (write {spelt})' if (spelt := words.spelt(tag)) else ''}" for tag in unknown[:MOST_TAGS]]
        more = f" and {len(unknown) - MOST_TAGS} more" if len(unknown) > MOST_TAGS else ""
        note = f"tags: the model was not trained on {', '.join(shown)}{more} and ignores what it does not know"
        return (note,) if words.knows_any(params.tags) else (note, NO_TAG_LEFT)

    def load(self, checkpoint: Checkpoint, placement: Placement) -> None:
        from acestep_flows.model.text_encoder import TextEncoder

        self.encoder = TextEncoder.load(checkpoint, placement)

    def run(self, batch: Sequence[Any], params: Sequence[Params], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        return run_groups(self.name, self._encode, [param.tags for param in params], lambda tags: None, watch)

    def _encode(self, prompts: list[str]) -> list[Out]:
        states, mask = self.encoder.encode(prompts)
        weak, _ = self.encoder.encode(prompts, erg_temperature=WEAKENED)
        outs = []
        for row, tags in enumerate(prompts):
            length = int(mask[row].sum())  # the rest is padding to the longest
            arrays = [tensor[row, :length].clone().numpy() for tensor in (states, weak, mask)]
            outs.append(self.Out(PromptStates(tags, arrays[0], arrays[1], arrays[2], self._warnings(tags))))
        return outs

    def _warnings(self, tags: str) -> tuple[str, ...]:
        unread = self.encoder.unread(tags)
        if not unread:
            return ()
        start = unread[:60] + (" ..." if len(unread) > 60 else "")
        return (f"tags: the model reads 256 tokens; {len(unread)} characters at the end are cut off: {start!r}",)
