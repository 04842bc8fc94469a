"""One host, without Ray: what it answers, and that it lets go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows.errors import CheckpointError, StageError
from acestep_flows.graph.execution.runner import Reply
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.runtime.serving import messages
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.runtime.serving.stage_host import Mailbox, StageHost, open_checkpoint
from acestep_flows.stages.registry import stages
from acestep_flows.values import Latents
from tests.runtime.serving.pools import LIGHT, content, fused, split
from tests.runtime.serving.songs import sample_call


@pytest.fixture
def host(small_root: Path, tmp_path: Path) -> Iterator[StageHost]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # so that one is the host's doing
    host = StageHost(fused(small_root), "all", tmp_path)
    assert host.runner.work.submit(torch.get_num_threads).result() == 1
    yield host
    host.runner.close()
    torch.set_num_threads(threads)


def stream(host: StageHost, call: StageCall) -> Any:
    inputs, tokens = messages.part(dict(call.inputs))
    return host.run(
        call.stage.name, call.params, inputs, tuple(tokens), *tokens.values(), preview_every=call.preview_every
    )


def prompt(tags: str) -> StageCall:
    kind = stages()["encode_prompt"]
    return StageCall(kind, {}, kind.Params.model_validate({"tags": tags}))


def test_an_answer_is_progress_then_outputs_then_values(host: StageHost) -> None:
    async def work() -> None:
        call = await sample_call(host.runner, steps=5)
        answer = [item async for item in stream(host, call)]
        (done,) = (item for item in answer if isinstance(item, messages.Done))
        place = answer.index(done)
        assert answer[0] == messages.Started()
        assert [step for item in answer[1:place] for step in item.done] == [(step, 5) for step in range(6)]
        assert [value.digest for value in answer[place + 1 : -1]] == list(done.digests)
        assert answer[-1] == messages.Complete()
        assert {name: handle.kind for name, handle in done.outputs.items()} == {
            "latents": "latents",
            "report": "report",
        }

    asyncio.run(work())


def test_previews_come_among_the_progress(host: StageHost) -> None:
    async def work() -> None:
        call = await sample_call(host.runner, steps=5)
        plain = [item async for item in stream(host, call) if isinstance(item, messages.Done)]
        answer = [item async for item in stream(host, replace(call, preview_every=4))]
        (preview,) = [item for item in answer if isinstance(item, messages.PreviewMessage)]
        assert (preview.step, preview.total, preview.latents.frames) == (4, 5, 21)
        assert answer.index(preview) < answer.index(messages.Complete())
        (done,) = [item for item in answer if isinstance(item, messages.Done)]
        assert done.digests == plain[0].digests

    asyncio.run(work())


def test_a_failure_is_an_answer(host: StageHost) -> None:
    async def work() -> None:
        *_, failed = [item async for item in stream(host, await sample_call(host.runner, control_branch="stemgen"))]
        assert isinstance(failed, messages.Failed)
        assert str(failed.error) == "sample.control: a control track and a control branch belong together"
        assert (await host.stats())["under_way"] == 0

    asyncio.run(work())


def test_whatever_breaks_is_a_stage_error(host: StageHost, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(call: StageCall, progress: object) -> Reply:
        raise ZeroDivisionError("by zero")

    async def work() -> None:
        monkeypatch.setattr(host.runner, "call", broken)
        (failed,) = [item async for item in stream(host, prompt("pop"))]
        assert isinstance(failed.error, StageError)
        assert str(failed.error) == "encode_prompt: ZeroDivisionError: by zero"

    asyncio.run(work())


def test_a_stage_without_memory_fails_that_call_alone(host: StageHost, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    stage = host.runner.loaded(stages()["encode_prompt"])
    whole = type(stage).run

    def short(self: Any, batch: Any, params: Any, watch: Any) -> Any:
        if params[0].tags == "huge":
            raise torch.OutOfMemoryError("too much")
        return whole(self, batch, params, watch)

    async def work() -> None:
        monkeypatch.setattr(type(stage), "run", short)
        huge, small = (
            [item async for item in stream(host, prompt("huge"))],
            [item async for item in stream(host, prompt("pop"))],
        )
        assert str(huge[-1].error) == "encode_prompt: OutOfMemoryError: too much"
        assert small[-1] == messages.Complete()

    asyncio.run(work())


def test_what_goes_through_a_stage_is_counted(host: StageHost) -> None:
    async def work() -> None:
        call = await sample_call(host.runner, steps=2)
        (done,) = [item async for item in stream(host, call) if isinstance(item, messages.Done)]
        told = (await host.stats())["edges"]
        assert [*told] == ["sample"]
        assert told["sample"]["calls"] == 1
        assert told["sample"]["seconds"] == done.seconds
        assert told["sample"]["bytes_in"] > told["sample"]["bytes_out"] > 0

    asyncio.run(work())


def test_a_cancelled_song_frees_its_place(host: StageHost) -> None:
    async def work() -> None:
        call = await sample_call(host.runner, steps=200)
        heard: list[Any] = []

        async def listen() -> None:
            async for item in stream(host, call):
                heard.append(item)

        task = asyncio.ensure_future(listen())
        while len(heard) < 3:
            await asyncio.sleep(0.01)
        told = await host.stats()
        assert (told["under_way"], told["engine"]["songs"]) == (1, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        told = await host.stats()
        assert (told["under_way"], told["engine"]["songs"]) == (0, 0)
        assert not any(isinstance(item, messages.Done) for item in heard)

    asyncio.run(work())


def test_a_cancelled_call_ends_when_its_thread_has_stopped(host: StageHost, monkeypatch: pytest.MonkeyPatch) -> None:
    there, go = threading.Event(), threading.Event()

    def slow(*_: object) -> list[Any]:
        there.set()
        go.wait(10)
        raise ZeroDivisionError

    async def work() -> None:
        monkeypatch.setattr(stages()["encode_prompt"], "run", slow)
        task = asyncio.ensure_future(_ended(stream(host, prompt("pop"))))
        await asyncio.to_thread(there.wait, 10)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0.2)
        assert not done
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())


async def _ended(answer: Any) -> None:
    async for _ in answer:
        pass


def test_a_process_loads_its_own_stages_and_knows_no_others(small_root: Path) -> None:
    host = StageHost(split(small_root), "vocode")
    assert list(host.stages) == ["vocode"]
    assert host._songs is None
    with pytest.raises(KeyError):
        asyncio.run(_ended(stream(host, prompt("pop"))))
    host.runner.close()


def test_health_is_that_of_the_engine(host: StageHost, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(host.check_health())
    assert host._songs is not None
    monkeypatch.setattr(type(host._songs.engine), "healthy", property(lambda self: False))
    with pytest.raises(RuntimeError, match="engine"):
        asyncio.run(host.check_health())


def test_steps_that_come_quickly_share_messages_and_none_is_lost() -> None:
    async def work() -> None:
        mailbox = Mailbox()
        mailbox.started()

        async def tell() -> None:
            for step in range(100):
                mailbox.step(step, 100)
                await asyncio.sleep(0.001)
            mailbox.close()

        telling = asyncio.ensure_future(tell())
        sent = [message async for message in mailbox]
        await telling
        assert sent[0] == messages.Started()
        steps = [message for message in sent if isinstance(message, messages.Steps)]
        assert len(steps) < 30
        assert [step for message in steps for step, _ in message.done] == list(range(100))

    asyncio.run(work())


def test_weights_that_are_not_there_are_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no folder"):
        open_checkpoint(Pool.checked(content(tmp_path / "nowhere")))


def test_adapters_go_by_name_only(small_root: Path) -> None:
    checkpoint = open_checkpoint(fused(small_root))
    assert checkpoint.extras.find("adapters", "voice").is_dir()
    assert not checkpoint.extras.paths


def test_a_preview_that_was_not_sent_gives_way_to_the_next() -> None:
    async def work() -> None:
        mailbox, latents = Mailbox(), Latents(np.zeros((8, 16, 1), np.float32))
        for step in range(1, 6):
            mailbox.step(step, 5)
            mailbox.preview(step, 5, latents)
        mailbox.close()
        sent = [message async for message in mailbox]
        assert [message.step for message in sent if isinstance(message, messages.PreviewMessage)] == [5]
        steps = [step for message in sent if isinstance(message, messages.Steps) for step, _ in message.done]
        assert steps == [1, 2, 3, 4, 5]

    asyncio.run(work())


@pytest.mark.parametrize("batch", [1, 8])
def test_forward_passes_are_counted_as_they_are_made(small_root: Path, batch: int) -> None:
    rest = {"rest": {"stages": [stage for stage in stages() if stage != "encode_prompt"], **LIGHT}}
    processes = {"words": {"stages": ["encode_prompt"], "batch": batch, **LIGHT}, **rest}
    host = StageHost(Pool.checked(content(small_root, processes)), "words")
    there, go = threading.Event(), threading.Event()

    def hold() -> None:
        there.set()
        go.wait(10)

    async def work() -> None:
        host.runner.work.submit(hold)
        await asyncio.to_thread(there.wait, 10)
        calls = [asyncio.ensure_future(_ended(stream(host, prompt(f"song {n}")))) for n in range(6)]
        await asyncio.sleep(0.05)
        go.set()
        await asyncio.gather(*calls)
        told = await host.stats()
        made = told["passes"]["encode_prompt"]
        assert made["items"] == told["calls"] == told["edges"]["encode_prompt"]["calls"] == 6
        assert made["passes"] == 6 if batch == 1 else made["passes"] < 4

    asyncio.run(work())
    host.runner.close()
