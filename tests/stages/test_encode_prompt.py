from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.stages.encode_prompt import EncodePrompt
from acestep_flows.values import PromptStates, pack, unpack
from tests.stages.running import run


def test_states_and_their_weakened_twin(small: Checkpoint) -> None:
    prompt = run("encode_prompt", small, {"tags": "funk, 105 BPM"}).prompt
    assert isinstance(prompt, PromptStates)
    assert prompt.text == "funk, 105 BPM"
    assert prompt.mask.all()
    assert np.abs(prompt.states - prompt.weak).max() > 1e-3


def test_a_long_prompt_is_cut_at_256_tokens(small: Checkpoint) -> None:
    prompt = run("encode_prompt", small, {"tags": "drums, " * 500 + "the last words"}).prompt
    assert len(prompt.mask) == 256
    (warning,) = prompt.warnings
    assert warning.startswith("tags: the model reads 256 tokens; ")
    unread = int(warning.split("; ")[1].split()[0])
    read = ("drums, " * 500 + "the last words")[:-unread]
    assert len(run("encode_prompt", small, {"tags": read}).prompt.mask) == 256
    assert run("encode_prompt", small, {"tags": read}).prompt.warnings == ()


def test_prompts_that_are_read_whole_have_the_digest_they_always_had(small: Checkpoint) -> None:
    prompt = run("encode_prompt", small, {"tags": "funk"}).prompt
    assert prompt.warnings == ()
    assert "warnings" not in pack(prompt)[1]
    arrays, fields = pack(replace(prompt, warnings=("cut",)))
    cut = unpack("prompt", arrays, fields)
    assert isinstance(cut, PromptStates)
    assert cut.warnings == ("cut",)


@pytest.mark.parametrize("tags", ["", "  \n", "a\ud800b", "a\x00b"])
def test_unusable_tags_are_refused_before_weights_are_read(tags: str) -> None:
    with pytest.raises(ValidationError, match="tags"):
        EncodePrompt.Params(tags=tags)
