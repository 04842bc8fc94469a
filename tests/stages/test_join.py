from __future__ import annotations

import pytest

from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import Checkpoint
from tests.stages.material import tone
from tests.stages.running import run


def test_pieces_overlap_by_the_crossfade(small: Checkpoint) -> None:
    joined = run("join", small, {"crossfade": 0.25}, parts=[tone(1.0), tone(2.0)]).audio
    assert joined.seconds == pytest.approx(2.75)


def test_nothing_to_join(small: Checkpoint) -> None:
    with pytest.raises(InputError, match="no parts"):
        run("join", small, {}, parts=[])
