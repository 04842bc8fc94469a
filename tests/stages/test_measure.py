from __future__ import annotations

import pytest

from acestep_flows.model.checkpoint import Checkpoint
from tests.stages.material import tone
from tests.stages.running import run


def test_a_tone_is_what_it_is(small: Checkpoint) -> None:
    entries = run("measure", small, {}, audio=tone(3.0, 440)).report.entries
    assert entries["spectral_centroid_hz"] == pytest.approx(440, rel=0.02)
    assert entries["sample_peak_dbfs"] == pytest.approx(-12.04, abs=0.05)
    assert entries["silence_share"] == 0.0
