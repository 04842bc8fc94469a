from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.stages.lengths import frames_covering
from acestep_flows.values import Audio, Span, seconds_from_frames
from tests.stages.material import tone
from tests.stages.running import run


def test_the_source_stays_around_the_span(small: Checkpoint) -> None:
    source, changed = tone(2.0, 220, 44_100, channels=1), tone(2.0, 330)
    out = run("keep_outside", small, {"span": Span(0.5, 1.0)}, source=source, changed=changed)
    assert (out.audio.sample_rate, out.audio.channels, out.offset) == (44_100, 1, 0.0)
    np.testing.assert_array_equal(out.audio.samples[:, :20_000], source.samples[:, :20_000])
    assert out.report.entries["kept"] == "samples"
    assert len(out.report.entries["joints"]) == 2


@pytest.mark.parametrize("params", [{"keep": "latents"}, {}])
def test_latents_have_nothing_to_put_back(small: Checkpoint, params: dict[str, Any]) -> None:
    changed = tone(2.0, 330)
    given: dict[str, Any] = {"source": tone(2.0)} if params else {}
    out = run("keep_outside", small, {"span": Span(0.5, 1.0), **params}, changed=changed, **given)
    assert out.audio == changed
    assert out.report.entries == {"kept": "latents", "seconds": 2.0, "joints": []}


@pytest.mark.parametrize("with_source", [True, False])
def test_an_extension_is_cut_to_the_sample_where_asked(small: Checkpoint, with_source: bool) -> None:
    left, right = 3.0, 1.5
    frames = frames_covering(left), 20, frames_covering(right)
    source = Audio(np.full((2, round(seconds_from_frames(20) * 48_000)), 0.1, np.float32), 48_000)
    changed = tone(seconds_from_frames(sum(frames)))
    params = {"offset": seconds_from_frames(frames[0]), "left": left, "right": right, "exact_length": True}
    given: dict[str, Any] = {"source": source} if with_source else {}
    out = run("keep_outside", small, params, changed=changed, **given)
    assert out.offset == pytest.approx(left, abs=1 / 48_000)
    assert out.audio.seconds == pytest.approx(left + source.seconds + right, abs=2 / 48_000)
    whole = run("keep_outside", small, params | {"exact_length": False}, changed=changed).audio
    assert whole == changed
