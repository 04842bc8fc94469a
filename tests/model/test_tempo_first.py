"""A text encoder whose config says so gets the tempo of a prompt first."""

from __future__ import annotations

from pathlib import Path

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.placement import Placement
from acestep_flows.model.text_encoder import TextEncoder
from acestep_flows.training.nano.start import write_start


def test_the_tempo_is_read_first(tmp_path: Path, small: Checkpoint) -> None:
    write_start(tmp_path)
    nano, other = (TextEncoder.load(checkpoint, Placement()) for checkpoint in (Checkpoint.open(tmp_path), small))
    late, early = "house, C minor, 128 bpm", "128 bpm, house, C minor"
    assert nano.tokenize([late])[0].tolist() == nano.tokenize([early])[0].tolist()
    assert other.tokenize([late])[0].tolist() != other.tokenize([early])[0].tolist()
