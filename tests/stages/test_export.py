from __future__ import annotations

import pytest

from acestep_flows.audio import read
from acestep_flows.model.checkpoint import Checkpoint
from tests.stages.material import tone
from tests.stages.running import run


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "ogg"])
def test_what_is_exported_can_be_read(small: Checkpoint, format: str) -> None:
    file = run("export", small, {"format": format}, audio=tone(1.0)).file
    assert file.format == format
    assert read.audio(file.content.tobytes()).seconds == pytest.approx(1.0, abs=0.06)
