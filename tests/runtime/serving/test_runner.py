"""The served door with real processes: the same songs, progress, cancelling, and processes that are killed."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile
import torch
from threadpoolctl import threadpool_limits

from acestep_flows.errors import CheckpointError, FlowsError, InputError, LostProcess, StageError
from acestep_flows.graph.content import Handle
from acestep_flows.graph.execution.cache import Cache
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.execution.events import Event
from acestep_flows.graph.execution.result import Options, SongPreview
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.runner import Reply
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.runtime.serving import deployment
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.runtime.serving.runner import ServeRunner
from acestep_flows.runtime.serving.stage_host import Mailbox, StageHost
from acestep_flows.stages.registry import stages
from acestep_flows.values import Latents, Span
from tests.runtime.serving.pools import ENGINE, fused, split
from tests.runtime.serving.songs import WORDS, Told, digests, play, reworked, sample_call, song

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

PATIENCE = 180.0


class Deadly(StageHost):
    """Is killed by the words of one song, as one would be that takes all memory there is."""

    async def _answer(self, call: StageCall, mailbox: Mailbox, alone_until: int) -> tuple[Reply | None, str | None]:
        if getattr(call.params, "tags", "") == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return await super()._answer(call, mailbox, alone_until)


def deployed(pool: Pool, home: Path, ingress: str | None = None) -> Iterator[ServeRunner]:
    from ray import serve

    from acestep_flows.runtime.serving.local_ray import deploy

    args = {"pool": pool, "home": str(home), "ingress": ingress}
    runner = deploy(args, pool.name, None if ingress is None else "/")
    yield runner
    runner.close()
    serve.delete(pool.name)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def together(ray_cluster: None, small_root: Path, home: Path) -> Iterator[ServeRunner]:
    """Every stage in one process that words can kill, and HTTP in front."""
    pool = fused(small_root).model_copy(update={"name": "fused"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployment, "StageHost", Deadly)
        yield from deployed(pool, home, "acestep_flows.api.server.ingress:ingress")


@pytest.fixture(scope="module")
def apart(ray_cluster: None, small_root: Path, home: Path) -> Iterator[ServeRunner]:
    """Stages in processes of their own."""
    yield from deployed(split(small_root).model_copy(update={"name": "split"}), home)


@pytest.fixture(scope="module")
def local(small: Checkpoint) -> Iterator[LocalRunner]:
    # As many threads as the processes have: how a sum is split shows in its last digits.
    threads = torch.get_num_threads()
    with threadpool_limits(), LocalRunner(small, threads=1) as runner:
        yield runner
    torch.set_num_threads(threads)


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def within() -> Any:
        async with asyncio.timeout(PATIENCE):
            return await work()

    return asyncio.run(within())


def test_fused_split_and_local_give_the_same_song(
    together: ServeRunner, apart: ServeRunner, local: LocalRunner
) -> None:
    async def work() -> None:
        plan = song(solver="pingpong", steps=5)
        one, two, three = [digests(await play(runner, plan)) for runner in (local, together, apart)]
        assert set(one) == {"prompt", "words", "noise", "take", "mel", "song"}
        assert one == two == three

    run(work)


@pytest.mark.parametrize(
    ("graph", "inputs"), [("repaint", {"span": Span(0.3, 1.0)}), ("remix", {"new_tags": "folk"}), ("audio2audio", {})]
)
def test_so_do_graphs_that_start_from_a_recording(
    together: ServeRunner, apart: ServeRunner, local: LocalRunner, graph: str, inputs: dict[str, Any]
) -> None:
    async def work() -> None:
        plan = reworked(graph, **inputs)
        one, two, three = [digests(await play(runner, plan)) for runner in (local, together, apart)]
        assert len(one) >= 6
        assert one == two == three

    run(work)


def test_the_keys_are_the_same_through_every_door(
    together: ServeRunner, apart: ServeRunner, local: LocalRunner
) -> None:
    async def work() -> None:
        plan = song(steps=1, duration=1.0)
        keys = [
            [node.cache_key.digest for node in (await play(runner, plan)).nodes.values() if node.cache_key]
            for runner in (local, together, apart)
        ]
        assert keys[0] == keys[1] == keys[2]

    run(work)


def test_songs_together_are_the_songs_alone(together: ServeRunner, local: LocalRunner) -> None:
    # Guidance multiplies rounding as it does everything: at 15, its default, fp32 differs by some 2e-5 of values to 9.
    lengths = ((1, 1, 4), (2, 3, 7), (3, 2, 5))
    plans = [song(seed=seed, duration=long, steps=steps, guidance_scale=2.0) for seed, long, steps in lengths]

    async def latents(runner: Any, plan: Plan) -> Any:
        return (await runner.fetch((await play(runner, plan)).outputs["latents"])).array

    async def work() -> None:
        alone = [await latents(local, plan) for plan in plans]
        crowd = await asyncio.gather(*(latents(together, plan) for plan in plans))
        for one, other in zip(alone, crowd, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)

    run(work)


def test_every_step_is_heard_in_order(apart: ServeRunner) -> None:
    async def work() -> None:
        events: list[Event] = []
        await play(apart, song(steps=12, seed=8), events)
        take = [event for event in events if event.node == "take"]
        assert [event.type for event in take] == ["queued", "started", *["progress"] * 13, "finished"]
        assert [event.step for event in take if event.type == "progress"] == list(range(13))
        assert {event.steps for event in take if event.type == "progress"} == {12}

    run(work)


def test_previews_come_from_another_process_and_leave_the_song_alone(apart: ServeRunner) -> None:
    async def work() -> None:
        plan, heard = song(steps=9, seed=9), list[SongPreview]()
        plain = digests(await play(apart, plan))
        options = Options("off", preview_every=4, on_preview=heard.append)
        result = await run_plan(Scheduler(stages(), apart), plan, options)
        assert digests(result) == plain
        assert [(preview.node, preview.steps) for preview in heard] == [("take", 9)] * len(heard)
        assert {preview.step for preview in heard} <= {4, 8}
        assert heard
        assert np.isfinite(heard[-1].latents.array).all()

    run(work)


def test_values_are_held_and_fetched(together: ServeRunner) -> None:
    async def work() -> None:
        latents = Latents(np.random.default_rng(1).standard_normal((8, 16, 50)).astype(np.float32))
        held = await together.hold({"a": [latents, 3]})
        assert isinstance(held["a"][0], Handle)
        assert held["a"][0].digest == latents.digest
        fetched = await together.fetch(held)
        assert fetched["a"][0] == latents
        assert fetched["a"][1] == 3
        assert not fetched["a"][0].array.flags.writeable

    run(work)


def test_outputs_are_kept_on_disk_and_found_again(together: ServeRunner, apart: ServeRunner, tmp_path: Path) -> None:
    async def work() -> None:
        plan, store = song(steps=2, duration=1.0), DiskStore(tmp_path)
        made = await run_plan(Scheduler(stages(), together, Cache(together, store=store)), plan)
        found = await run_plan(Scheduler(stages(), apart, Cache(apart, store=store)), plan)
        assert {node.source for node in made.nodes.values()} == {"computed"}
        assert {node.source for node in found.nodes.values()} == {"disk"}
        assert digests(made) == digests(found)
        assert await apart.fetch(found.outputs["audio"]) == await together.fetch(made.outputs["audio"])

    run(work)


def test_a_cancelled_run_frees_its_place(together: ServeRunner) -> None:
    async def work() -> None:
        events: list[Event] = []
        task = asyncio.ensure_future(play(together, song(steps=200, duration=60.0), events))
        while not any(event.step for event in events):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (told,) = (await together.stats())["all"]
        assert (told["under_way"], told["engine"]["songs"]) == (0, 0)
        assert max(event.step or 0 for event in events) < 200

    run(work)


@pytest.mark.parametrize(
    ("params", "kind", "said"),
    [
        ({"control_branch": "stemgen"}, InputError, "belong together"),
        ({"adapter": "../voice"}, InputError, "a name of letters"),
        ({"adapter": "absent"}, CheckpointError, "no weights for adapter 'absent'"),
    ],
)
def test_errors_arrive_as_they_were_made(apart: ServeRunner, params: Any, kind: type[FlowsError], said: str) -> None:
    async def work() -> None:
        with pytest.raises(kind, match=said) as raised:
            await apart.call(await sample_call(apart, steps=2, **params), Told())
        assert type(raised.value) is kind

    run(work)


def test_a_value_that_does_not_fit_is_an_error_of_that_call_alone(apart: ServeRunner) -> None:
    async def work() -> None:
        kind = stages()["decode_latents"]
        wrong = await apart.hold({"latents": np.float32(3)})
        with pytest.raises(StageError, match="decode_latents"):
            await apart.call(StageCall(kind, {**wrong, "like": None}, kind.Params()), Told())
        assert (await play(apart, song(steps=1, duration=1.0))).outputs

    run(work)


def test_a_run_over_http_gives_the_same_song(together: ServeRunner, local: LocalRunner, ray_cluster: str) -> None:
    inputs = {**WORDS, "duration": 2.0, "seed": 31, "steps": 3}

    async def work() -> None:
        async with httpx2.AsyncClient(base_url=ray_cluster) as client:
            accepted = await client.post("/v1/runs", json={"graph": "text2music", "inputs": inputs})
            assert accepted.status_code == 202, accepted.text
            place = f"/v1/runs/{accepted.json()['id']}"
            while (told := (await client.get(place)).json())["state"] in ("queued", "running"):
                await asyncio.sleep(0.1)
            assert told["state"] == "succeeded"
            answer = await client.get(told["outputs"]["audio"]["url"])
        alone = await local.fetch((await play(local, song(seed=31, steps=3))).outputs["audio"])
        heard, _ = soundfile.read(io.BytesIO(answer.content), dtype="float32")
        np.testing.assert_allclose(heard.T, alone.samples, atol=2e-4)

    run(work)


# Killing comes last: replacements take their time.


def test_a_song_that_kills_its_process_fails_alone(together: ServeRunner) -> None:
    events: list[Event] = []

    async def work() -> None:
        neighbours = [
            asyncio.ensure_future(play(together, song(steps=150, duration=4.0, seed=seed), events)) for seed in (41, 42)
        ]
        while not any((event.step or 0) >= 4 for event in events):
            await asyncio.sleep(0.005)
        with pytest.raises(LostProcess):
            await play(together, song(tags="deadly"))
        for neighbour in neighbours:
            assert (await neighbour).outputs
        assert (await play(together, song(seed=43))).outputs

    run(work)


def test_what_a_killed_process_gave_is_still_there(apart: ServeRunner) -> None:
    async def work() -> None:
        result = await play(apart, song(steps=1, seed=21))
        (told,) = (await apart.stats())["vocode"]
        os.kill(told["pid"], signal.SIGKILL)
        audio = await apart.fetch(result.outputs["audio"])
        assert audio.seconds == pytest.approx(2.0, abs=0.1)

    run(work)


def test_a_killed_sampler_costs_a_few_steps(apart: ServeRunner, local: LocalRunner) -> None:
    async def work() -> None:
        plan, events = song(steps=45, duration=30.0, seed=22), list[Event]()
        (told,) = (await apart.stats())["sampler"]
        task = asyncio.ensure_future(run_plan(Scheduler(stages(), apart), plan, Options(on_event=events.append)))
        while not any((event.step or 0) >= 20 for event in events):
            await asyncio.sleep(0.005)
        os.kill(told["pid"], signal.SIGKILL)
        result = await task
        starts = [event.type for event in events if event.node == "take"].count("started")
        assert starts == 2
        heard = [event.step for event in events if event.node == "take" and event.step is not None]
        back = next(place for place in range(1, len(heard)) if heard[place] <= heard[place - 1])
        assert heard[back - 1] - heard[back] <= 2 * ENGINE["save_every"]
        assert heard[back] % ENGINE["save_every"] == 0
        assert heard[back] > 0
        assert heard[-1] == 45
        alone = await play(local, plan)
        assert digests(result)["take"] == digests(alone)["take"]

    run(work)


def where(items: list[Any], word: str) -> list[tuple[int, str, str]]:
    """The process that this is, what it has, and the word."""
    return [(os.getpid(), type(item["content"]).__name__, word) for item in items]


def refuse(items: list[Any]) -> list[Any]:
    raise InputError("nothing of it", where="audio", allowed="something")


def stumble(items: list[Any]) -> list[Any]:
    raise RuntimeError("lost its way")


def test_functions_are_applied_where_the_values_are(apart: ServeRunner, local: LocalRunner) -> None:
    async def work() -> None:
        result = await play(apart, song(seed=23, duration=3.0))
        audio, held = result.outputs["audio"], await apart.hold(Latents(np.ones((8, 16, 900), np.float32)))
        items = [{"content": content} for content in (held, audio, 3, result.outputs["audio"])]
        answers = await apart.apply(where, items, "word")
        assert [answer[1:] for answer in answers] == [
            ("Latents", "word"), ("Audio", "word"), ("int", "word"), ("Audio", "word")
        ]  # fmt: skip
        pids = [answer[0] for answer in answers]
        (vocode,) = (await apart.stats())["vocode"]
        assert pids == [os.getpid(), vocode["pid"], os.getpid(), vocode["pid"]]
        with pytest.raises(InputError, match="nothing of it"):
            await apart.apply(refuse, items)
        with pytest.raises(StageError, match="lost its way"):
            await apart.apply(stumble, items[1:2])
        values = [{"content": await local.hold(Span(0, 1))}]
        assert await local.apply(where, values, "word") == [(os.getpid(), "Span", "word")]

    run(work)
