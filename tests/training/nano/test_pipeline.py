"""The whole making of nano, with hardly a step of each: it goes on where it was stopped, and what comes out plays."""

from __future__ import annotations

from pathlib import Path

import pytest

from acestep_flows.errors import Cancelled
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.training import loop
from acestep_flows.training.nano.pipeline import Making, make

CLIPS = ["source.clips=4", "source.held_out=1", "source.workers=0", "source.seconds=3", "loop.steps=2", "loop.warmup=0"]
SONGS = ["loop.steps=2", "loop.warmup=0", "data.rows=2", "data.held_out=2", "preview.songs=0", "preview.measured=0"]
ENCODED = ["source.count=8", "source.seconds={3.0: 1.0}", "source.vocals=1.0"]
CHANGES = {
    "autoencoder": [*CLIPS, "crops=[32]", "frames_per_batch=64"],
    "decoder": [*CLIPS, "frames=16", "batch=2"],
    **dict.fromkeys(("encode", "encode-pairs"), ENCODED),
    "beat": [*SONGS, "data.tagged=null"],
    **dict.fromkeys(("diffusion", "lyric2vocal", "stemgen", "singing2accompaniment"), SONGS),
}


def test_nano_is_made_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    making = Making(tmp_path, changes=CHANGES, say=said.append)

    train = loop.train
    monkeypatch.setattr(loop, "train", lambda *args, **given: train(*args, **given, minutes=0.0))
    with pytest.raises(Cancelled, match="autoencoder stopped after step"):
        make(making)
    monkeypatch.setattr(loop, "train", train)
    folder = make(making)

    nano = Checkpoint.open(folder)
    start = Checkpoint.open(tmp_path / "start")
    for part in ("ace_step_transformer", "music_dcae_f8c8", "music_vocoder", "umt5-base"):
        assert nano.digest(part) != start.digest(part), f"{part} is as it was"
    assert nano.extras.names("adapters") == ["lyric2vocal"]
    assert nano.extras.names("controls") == ["singing2accompaniment", "stemgen"]

    said.clear()
    make(making)
    assert not [step for step in said if not step.startswith("encoded")], "finished steps are not begun again"
