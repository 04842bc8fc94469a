from __future__ import annotations

import numpy as np
import pytest

from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.values import PromptStates
from tests.stages.running import loaded, run


def test_states_and_their_weakened_twin(small: Checkpoint) -> None:
    prompt = run("encode_prompt", small, {"tags": "funk, 105 BPM"}).prompt
    assert isinstance(prompt, PromptStates)
    assert prompt.text == "funk, 105 BPM"
    assert prompt.mask.all()
    assert np.abs(prompt.states - prompt.weak).max() > 1e-3


def test_a_long_prompt_is_cut_at_256_tokens(small: Checkpoint) -> None:
    assert len(run("encode_prompt", small, {"tags": "drums, " * 500}).prompt.mask) == 256


@pytest.mark.parametrize("tags", ["", "  \n", "a\ud800b", "a\x00b"])
def test_unusable_tags(small: Checkpoint, tags: str) -> None:
    with pytest.raises(InputError, match="tags: "):
        run("encode_prompt", small, {"tags": tags})


def test_one_bad_item_harms_no_neighbour(small: Checkpoint) -> None:
    stage = loaded("encode_prompt", small)
    good, bad = stage.Params(tags="pop"), stage.Params(tags="")
    outs = stage.run([stage.In()] * 3, [good, bad, good])
    assert isinstance(outs[1], InputError)
    assert outs[0].prompt == outs[2].prompt
