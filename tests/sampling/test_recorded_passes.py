"""Which passes are recorded, which go, and that recorded ones are what they are without. No CUDA graph is made here."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from acestep_flows.model.all_rows import AllRows
from acestep_flows.model.cuda_graph import Recording
from acestep_flows.model.frame_mixing import FORMS
from acestep_flows.model.transformer import Transformer
from acestep_flows.sampling import active_song
from acestep_flows.sampling.denoiser import DenoiserRow, encode_conditions, predict_stacked
from acestep_flows.sampling.pass_shapes import PassShape
from acestep_flows.sampling.queries import Query
from acestep_flows.sampling.recorded_passes import RecordedPasses
from acestep_flows.sampling.row_batching import RowBatcher
from tests.sampling.small_songs import Order, alone, assert_same, networks
from tests.sampling.test_denoiser import CONFIG, branch_of
from tests.sampling.test_joint_turn import ends
from tests.sampling.toy import noise_of


@dataclass
class Rerun:
    """Stands for a CUDA graph: a replay does the work again and writes it to where the output was."""

    nbytes: int = 0
    error: Exception | None = None
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    def record(self, work: Callable[[], Tensor]) -> Recording:
        if self.error is not None:
            raise self.error
        output = work().clone()
        self.shapes.append(tuple(output.shape))
        return Recording(lambda: output.copy_(work()), output, self.nbytes)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMS, "cpu", AllRows())


def rows_of(frames: Sequence[int], controlled: bool = False, tokens: int = 3) -> tuple[Tensor, list[DenoiserRow]]:
    """Latents and rows of unequal length, with conditions of unequal length."""
    rows = []
    for index, count in enumerate(frames):
        memories = encode_conditions(*networks(), {"conditional": branch_of(index, tokens + index)})
        control = torch.randn(count, CONFIG.width) if controlled and index % 2 else None
        query = Query(noise_of(index, count), 900.0 - 100 * index, "conditional", 0.01 if index % 2 else 1.0)
        rows.append(DenoiserRow(query, memories["conditional"], control, 0.5))
    latents = torch.full((len(rows), 8, 16, max(frames)), 7.0)
    for padded, row in zip(latents, rows, strict=True):
        assert isinstance(row.query, Query)
        padded[..., : row.query.frames] = row.query.latents
    return latents, rows


@pytest.mark.parametrize(
    ("shape", "rounded"),
    [
        ((1, 1, 1), (1, 64, 128)), ((3, 64, 128), (4, 64, 128)), ((17, 65, 129), (32, 128, 256)),
        ((64, 2624, 4096), (64, 2624, 4096)), ((65, 64, 128), None), ((1, 2625, 128), None), ((1, 64, 4097), None),
    ],
)  # fmt: skip
def test_shapes_are_rounded_up(shape: tuple[int, int, int], rounded: tuple[int, int, int] | None) -> None:
    got = PassShape(*shape, controlled=True).rounded_up()
    assert got == (None if rounded is None else PassShape(*rounded, controlled=True))


@pytest.mark.parametrize("controlled", [False, True])
@torch.inference_mode()
def test_a_recorded_pass_is_the_pass(controlled: bool) -> None:
    recorded, recorder = RecordedPasses(1 << 30, lambda device: recorder), Rerun()
    for frames in ((9, 4, 12), (12,), (5, 5, 5), (70,), (3, 11, 2), (9, 4, 12)):
        latents, rows = rows_of(frames, controlled)
        got, want = recorded(networks()[0], latents, rows), predict_stacked(networks()[0], latents, rows)
        for row, one, other in zip(rows, got, want, strict=True):
            count = row.query.frames
            torch.testing.assert_close(one[..., :count], other[..., :count], atol=1e-5, rtol=0)
    assert set(recorder.shapes) == {(4, 8, 16, 64), (1, 8, 16, 64), (1, 8, 16, 128)}
    stats = recorded.stats
    assert (stats.eager, stats.replayed, stats.recorded, stats.shapes) == (0, 6, 3, len(recorder.shapes))


def test_songs_come_out_as_they_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = [
        Order(task, 8 + seed, seed, {"steps": 4, "guidance_scale": 7.0}, adapter=seed == 2, controlled=seed == 1)
        for seed, task in enumerate(("text2music", "repaint", "edit", "audio2audio"))
    ]
    monkeypatch.setattr(active_song, "ON_PROCESSORS", frozenset())
    recorded = RecordedPasses(1 << 30, lambda device: Rerun())
    together = ends(orders, batcher=RowBatcher(1000, recorded=recorded))
    assert recorded.stats.replayed > 4
    monkeypatch.undo()
    for order, state in zip(orders, together, strict=True):
        assert_same(state, alone(order.song()))


@torch.inference_mode()
def test_the_least_recently_used_goes_when_memory_is_full() -> None:
    recorder = Rerun(1_000_000)
    recorded = RecordedPasses(3_900_000, lambda device: recorder)
    passes = {count: rows_of((5,) * count) for count in (1, 2, 4, 8)}

    def ask(count: int) -> None:
        recorded(networks()[0], *passes[count])

    for count in (1, 2, 4, 1, 8, 1, 4):
        ask(count)
    assert (recorded.stats.recorded, recorded.stats.dropped, recorded.stats.shapes) == (4, 1, 3)
    ask(2)  # it went when the fourth came
    assert recorded.stats.recorded == 5
    assert recorded.stats.bytes <= 3_900_000


@torch.inference_mode()
@pytest.mark.parametrize("error", [RuntimeError("not permitted when stream is capturing"), torch.OutOfMemoryError("")])
def test_what_cannot_be_recorded_is_made_all_the_same(error: Exception) -> None:
    asked: list[Any] = []

    def recorder(device: torch.device) -> Rerun:
        asked.append(device)
        return Rerun(error=error)

    recorded = RecordedPasses(1 << 30, recorder)
    latents, rows = rows_of((9, 4))
    want = predict_stacked(networks()[0], latents, rows)
    for _ in range(3):
        assert torch.equal(recorded(networks()[0], latents, rows), want)
    stats = recorded.stats
    assert (stats.failed, stats.eager, stats.replayed, len(asked)) == (1, 3, 0, 1)


@torch.inference_mode()
def test_a_recording_too_large_for_its_memory_is_not_kept() -> None:
    recorded = RecordedPasses(1_000, lambda device: Rerun(1_000_000))
    latents, rows = rows_of((9,))
    recorded(networks()[0], latents, rows)
    assert (recorded.stats.failed, recorded.stats.shapes, recorded.stats.eager) == (1, 0, 1)
    roomy = RecordedPasses(500_000, lambda device: Rerun(1_000_000))  # enough for its inputs alone
    roomy(networks()[0], latents, rows)
    assert (roomy.stats.failed, roomy.stats.shapes, roomy.stats.eager) == (1, 0, 1)


@torch.inference_mode()
def test_memory_that_runs_out_is_taken_from_other_recordings() -> None:
    @dataclass
    class Full(Rerun):
        """Has memory for two recordings."""

        def record(self, work: Callable[[], Tensor]) -> Recording:
            if recorded.stats.shapes == 2:
                raise torch.OutOfMemoryError("full")
            return super().record(work)

    recorder = Full()
    recorded = RecordedPasses(1 << 30, lambda device: recorder)
    for count in (1, 2, 4):
        recorded(networks()[0], *rows_of((5,) * count))
    stats = recorded.stats
    assert (stats.recorded, stats.dropped, stats.shapes, stats.failed, stats.eager) == (3, 1, 2, 0, 0)


@torch.inference_mode()
def test_recordings_go_with_their_network() -> None:
    recorded = RecordedPasses(1 << 30, lambda device: Rerun())
    latents, rows = rows_of((9,))
    short_lived = Transformer(CONFIG).requires_grad_(False)
    recorded(networks()[0], latents, rows)
    recorded(short_lived, latents, rows)
    assert recorded.stats.shapes == 2
    del short_lived
    gc.collect()
    assert recorded.stats.shapes == 1
