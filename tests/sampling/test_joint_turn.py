"""Songs that make their steps as one batch are what they are alone, and no step waits for the host."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from acestep_flows.model.all_rows import AllRows
from acestep_flows.model.encoded_conditions import EncodedConditions
from acestep_flows.model.frame_mixing import FORMS
from acestep_flows.model.transformer import Transformer
from acestep_flows.runtime.engine import StepEngine
from acestep_flows.sampling import active_song
from acestep_flows.sampling.active_song import ActiveSong
from acestep_flows.sampling.denoiser import TransformerDenoiser, predict_velocities
from acestep_flows.sampling.loop import denoise, denoise_all
from acestep_flows.sampling.row_batching import RowBatcher
from acestep_flows.sampling.solver import Memory, Solver
from acestep_flows.sampling.text2music import Denoising
from acestep_flows.sampling.trajectory import State
from tests.sampling.small_songs import BRANCHES, ORDERS, TOLERANCE, Order, alone, assert_same, underway
from tests.sampling.test_denoiser import CONFIG


@pytest.fixture
def jointly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processors work as other devices do."""
    monkeypatch.setattr(active_song, "ON_PROCESSORS", frozenset())
    monkeypatch.setitem(FORMS, "cpu", AllRows())


def ends(orders: Sequence[Order], states: Sequence[State | None] | None = None, **sizes: Any) -> list[State]:
    """The last states of songs that are denoised together."""
    states = states or [None] * len(orders)
    begins = [partial(underway, order, state) for order, state in zip(orders, states, strict=True)]
    ended: dict[int, ActiveSong | Exception] = dict(denoise_all(begins, lambda index, song: None, **sizes))
    last = []
    for index in range(len(orders)):
        song = ended[index]
        assert isinstance(song, ActiveSong), song
        last.append(song.state.fetched())
    return last


def assert_same_memory(got: State, want: State) -> None:
    assert got.memory.keys() == want.memory.keys()
    for name, tensor in want.memory.items():
        torch.testing.assert_close(got.memory[name], tensor, atol=TOLERANCE, rtol=0)


def every_kind() -> Iterator[Order]:
    """Songs of every task, solver and guidance, of unequal length, some under an adapter, some controlled."""
    seed = 0
    for task in ("text2music", "audio2audio", "repaint", "extend", "edit"):
        for solver in ("euler", "heun", "pingpong"):
            for more in (
                {}, {"guidance": "cfg"}, {"guidance": "cfg_star", "compatibility": "upstream"}, {"guidance_scale": 1.0},
                {"guidance_scale_text": 3.0, "guidance_scale_lyric": 2.0}, {"guidance_decay": 0.5, "omega": -3.0},
            ):  # fmt: skip
                seed += 1
                options = {"steps": 4, "solver": solver, "guidance_interval": 0.8, "guidance_scale": 7.0, **more}
                yield Order(task, 6 + seed % 9, seed, options, adapter=seed % 5 == 0, controlled=seed % 4 == 0)


def test_every_kind_of_song_in_one_batch(jointly: None, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = list(every_kind())
    together = ends(orders, songs=100, tokens=100_000, batcher=RowBatcher(10_000))
    monkeypatch.undo()
    for order, state in zip(orders, together, strict=True):
        assert_same(state, alone(order.song()))
        assert_same_memory(state, alone(order.song()))


@given(orders=st.lists(ORDERS, min_size=1, max_size=6), padding=st.sampled_from((0, 20, 10_000)))
@settings(max_examples=15, deadline=None)
def test_songs_that_come_and_go_are_as_alone(orders: list[Order], padding: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(active_song, "ON_PROCESSORS", frozenset())
        patch.setitem(FORMS, "cpu", AllRows())
        together = ends(orders, songs=3, tokens=100, batcher=RowBatcher(padding))
    for order, state in zip(orders, together, strict=True):
        assert_same(state, alone(order.song()))


@pytest.mark.parametrize("task", ["text2music", "repaint", "extend", "edit"])
@pytest.mark.parametrize("solver", ["heun", "pingpong"])
def test_saved_states_go_from_devices_to_processors_and_back(
    jointly: None, monkeypatch: pytest.MonkeyPatch, task: str, solver: str
) -> None:
    order = Order(task, 9, options={"steps": 6, "solver": solver, "guidance_interval": 1.0, "guidance_scale": 7.0})
    on_device: list[bytes] = []
    song = underway(order)
    while not song.done:
        (song,) = RowBatcher().step([song])  # type: ignore[assignment]
        on_device.append(song.state.save())
    monkeypatch.undo()
    last = alone(order.song())
    for content in on_device:
        state = State.load(content)
        assert_same(ends([order], [state])[0], last)
    monkeypatch.setattr(active_song, "ON_PROCESSORS", frozenset())
    kept: list[State] = []
    for _, ended in denoise_all([partial(underway, order)], lambda index, song: kept.append(song.state.fetched())):
        assert isinstance(ended, ActiveSong)
    for state in kept[:-1]:
        assert_same(ends([order, order.but(seed=9)], [state, None])[0], last)


def test_what_is_kept_of_a_repainted_song_is_the_source_to_the_bit(jointly: None) -> None:
    order = Order("repaint", 12, options={"steps": 5, "guidance_scale": 7.0})
    (state, _) = ends([order, Order(frames=15)])
    source = order.trajectory().source  # type: ignore[attr-defined]
    assert torch.equal(state.latents[..., :1], source[..., :1])
    assert torch.equal(state.latents[..., 11:], source[..., 11:])


def test_an_edit_to_the_same_words_asks_twice_for_the_same(jointly: None) -> None:
    """As long as nothing has moved, source and target are one, to the bit."""
    order = Order("edit", 9, options={"steps": 5, "guidance_scale": 1.0})
    asked: list[Tensor] = []

    def ask(transformer: Any, rows: Sequence[Any]) -> Sequence[Tensor]:
        asked.extend(row.query.latents for row in rows)
        return [torch.zeros_like(row.query.latents) for row in rows]

    song = underway(order)
    for _ in range(2):
        (song,) = RowBatcher(ask=ask).step([song])  # type: ignore[assignment]
    assert torch.equal(asked[0], asked[1])
    assert torch.equal(asked[2], asked[3])
    assert not torch.equal(asked[0], asked[2])


def test_long_songs_are_extended_in_two_passes(jointly: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between passes a song makes one step by itself."""
    monkeypatch.setattr("acestep_flows.sampling.extend.MAX_FRAMES", 12)
    order = Order("extend", 10, options={"steps": 4, "guidance_scale": 7.0, "guidance_interval": 1.0})
    assert len(order.trajectory().passes) == 2  # type: ignore[attr-defined]
    state, _ = ends([order, Order(frames=15)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(active_song, "ON_PROCESSORS", frozenset({"cpu"}))
        patch.setitem(FORMS, "cpu", FORMS["cpu"])
        want = alone(order.song())
    assert_same(state, want)
    assert_same_memory(state, want)


def test_the_engine_shows_and_saves_songs_that_stay_on_the_device(
    jointly: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = Order("edit", 9, options={"steps": 8, "solver": "pingpong", "guidance_scale": 7.0})
    previews: dict[int, Tensor] = {}
    saved: list[bytes] = []

    async def run() -> State:
        async with StepEngine() as engine:
            other = asyncio.create_task(engine.run(Order(frames=14, options={"steps": 30}).song()))
            last = await engine.run(
                order.song(),
                preview_every=2,
                on_preview=lambda step, preview: previews.update({step: preview}),
                save_every=3,
                on_save=lambda state: saved.append(state.save()),
            )
            await other
            return last

    last = asyncio.run(run())
    assert type(last) is State
    monkeypatch.undo()
    want: dict[int, Tensor] = {}
    song = order.song()
    alone_last = denoise(song.trajectory, song.denoise, lambda s: want.update({s.step: song.trajectory.estimate(s)}))
    assert_same(last, alone_last)
    assert list(previews) == list(range(2, last.step, 2))
    for step, preview in previews.items():
        torch.testing.assert_close(preview, want[step], atol=TOLERANCE, rtol=0)
    assert [State.load(content).step for content in saved] == list(range(3, last.step, 3))
    for content in saved:
        assert_same(denoise(song.trajectory, song.denoise, state=State.load(content)), alone_last)


@dataclass(frozen=True)
class PlainEuler(Solver):
    """Says its step in no numbers."""

    def step(self, k: int, latents: Tensor, velocity: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        return latents + (self.schedule.sigmas[k + 1] - self.schedule.sigmas[k]) * velocity, {}


def test_a_solver_without_numbers_goes_one_by_one(jointly: None, monkeypatch: pytest.MonkeyPatch) -> None:
    order = Order(options={"steps": 4, "guidance_scale": 7.0})
    song, other = underway(order), underway(Order(frames=11))
    trajectory = song.trajectory
    assert isinstance(trajectory, Denoising)
    own = replace(trajectory, solver=PlainEuler(trajectory.solver.schedule))
    begins = [lambda: ActiveSong.begin(own, song.denoiser), lambda: other]
    ended = dict(denoise_all(begins, lambda index, song: None))
    monkeypatch.undo()
    for index, want in enumerate((denoise(own, song.denoiser), denoise(other.trajectory, other.denoiser))):
        finished = ended[index]
        assert isinstance(finished, ActiveSong)
        assert_same(finished.state.fetched(), want)


class Broken(Exception):
    pass


def test_a_song_that_fails_harms_no_other(jointly: None, monkeypatch: pytest.MonkeyPatch) -> None:
    broken: list[int] = []

    def ask(transformer: Any, rows: Sequence[Any]) -> Sequence[Tensor]:
        if any(row.query.frames == 13 for row in rows):
            raise Broken
        return predict_velocities(transformer, rows)

    songs = [underway(Order(frames=frames)) for frames in (8, 13, 9)]
    batcher = RowBatcher(ask=ask, on_broken=lambda songs, error: broken.append(len(songs)))
    first, failed, last = batcher.step(songs)
    assert isinstance(failed, Broken)
    assert broken == [3]
    for before, after in ((songs[0], first), (songs[2], last)):
        assert isinstance(after, ActiveSong)
        (apart,) = RowBatcher().step([before])
        assert isinstance(apart, ActiveSong)
        assert_same(after.state, apart.state)


def mixed(count: int) -> list[ActiveSong]:
    """Songs of several tasks and formulas on a device that has shapes and no content."""
    with torch.device("meta"):
        transformer = Transformer(CONFIG).requires_grad_(False)
    shape = CONFIG.num_layers, 2, CONFIG.num_attention_heads, 5, CONFIG.attention_head_dim
    keys_values = torch.empty(shape, device="meta")
    songs = []
    for index in range(count):
        task = ("text2music", "edit", "repaint", "audio2audio")[index % 4]
        options = {
            "steps": 6, "solver": ("euler", "pingpong", "heun")[index % 3], "guidance_interval": 1.0,
            "guidance": ("apg", "cfg", "cfg_star")[index // 2 % 3],
        }  # fmt: skip
        memories = {name: EncodedConditions(keys_values) for name in BRANCHES}
        control = torch.empty(8 + index % 5, CONFIG.width, device="meta") if index % 4 == 2 else None
        order = Order(task, 8 + index % 5, index, options)
        songs.append(ActiveSong.begin(order.trajectory(), TransformerDenoiser(transformer, memories, control)))
    return songs


def test_the_whole_loop_of_eight_songs_reads_nothing_from_the_device() -> None:
    """On `meta` there is nothing to read: whatever would wait for a device raises."""
    songs: list[Any] = mixed(8)
    batcher = RowBatcher(10_000)
    steps = 0
    while active := [song for song in songs if not song.done]:
        moved = iter(batcher.step(active))
        songs = [song if song.done else next(moved) for song in songs]
        assert all(isinstance(song, ActiveSong) for song in songs), songs
        steps += 1
    assert steps == max(song.trajectory.steps for song in songs)
    assert {song.state.on_device().latents.device.type for song in songs} == {"meta"}


class DeviceOperations(TorchDispatchMode):
    """Counts what the device is asked for, views included."""

    made = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        self.made += any(tensor.device.type == "meta" for tensor in tensors)
        return result


def operations(songs: Sequence[ActiveSong], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Operations of each turn outside of the network while all songs take part."""

    monkeypatch.setattr(TransformerDenoiser, "predict_stacked", lambda self, latents, rows: latents)
    batcher, counts = RowBatcher(10_000), []
    while not any(song.done for song in songs):
        with DeviceOperations() as count:  # type: ignore[no-untyped-call]
            songs = batcher.step(songs)  # type: ignore[assignment]
        counts.append(count.made)
    return counts


def test_a_turn_has_as_many_operations_for_many_songs_as_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = operations(mixed(12), monkeypatch), operations(mixed(60), monkeypatch)
    # In the first turn songs arrive. Later ones differ in what the songs do at their step, not in how many they are.
    assert max(many[1:]) <= 60, many
    assert many[1:] == few[1:]
