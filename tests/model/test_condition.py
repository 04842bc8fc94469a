from __future__ import annotations

import torch

from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.placement import Placement
from tests.model.small import small_checkpoint


@torch.inference_mode()
def test_order_masks_and_the_zero_speaker() -> None:
    projector = ConditionProjector.load(small_checkpoint(), Placement())
    config = projector.config
    text, lyrics = torch.randn(4, config.text_embedding_dim), torch.randn(3, config.lyric_hidden_size)
    text_mask, lyric_mask = torch.tensor([1, 1, 1, 0]), torch.tensor([1.0, 0, 0])
    states, mask = projector(text, text_mask, lyrics, lyric_mask)
    assert mask.tolist() == [1, 1, 1, 1, 0, 1, 0, 0]
    assert torch.equal(states[0], projector.speaker_embedder.bias)
    torch.testing.assert_close(states[1:5], projector.genre_embedder(text))
    torch.testing.assert_close(states[5:], projector.lyric_proj(lyrics))

    speaker = torch.zeros(2, config.speaker_embedding_dim)
    pair = [torch.stack((each, each)) for each in (text, text_mask, lyrics, lyric_mask)]
    batched, masks = projector(*pair, speaker)
    torch.testing.assert_close(batched[1], states)
    assert torch.equal(masks[1], mask)
