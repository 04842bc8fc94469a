from __future__ import annotations

import pytest

from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.values import Span
from tests.stages.material import tone
from tests.stages.running import run


def test_the_part_inside_the_span(small: Checkpoint) -> None:
    audio = tone(2.0)
    part = run("trim", small, {"span": Span(0.5, 1.25)}, audio=audio).audio
    assert (part.samples == audio.samples[:, 24_000:60_000]).all()


def test_a_span_past_the_end(small: Checkpoint) -> None:
    with pytest.raises(InputError, match="within the audio, 0 to 2.000 s"):
        run("trim", small, {"span": {"start": 1, "end": 3}}, audio=tone(2.0))
