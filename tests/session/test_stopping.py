"""Progress, cancelling, deadlines and cache modes."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from acestep_flows import Session
from acestep_flows.errors import Cancelled, DeadlineExceeded, InputError, TimedOut
from acestep_flows.graph.execution.events import Event
from acestep_flows.session import RunHandle, RunResult
from tests.session.songs import LONG, SONG, when_sampling


def test_progress_is_shown_or_handed_over(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    events: list[Event] = []
    session.run("text2music", **SONG, cache="off", progress=events.append)
    assert [event.step for event in events if event.type == "progress" and event.node == "take"][-2:] == [1, 2]
    assert (events[0].type, events[-1].type) == ("started", "finished")
    assert capsys.readouterr().err == ""
    session.run("text2music", **SONG, progress=True)
    assert "[6/6] making the waveform: " in capsys.readouterr().err


@pytest.mark.parametrize(("progress", "shown"), [(1, "1"), ("yes", "text 'yes'"), (None, "null")])
def test_progress_is_a_bool_or_a_function(session: Session, progress: Any, shown: str) -> None:
    message = f"^progress: {shown} \\(allowed: True, False, or a function of one event\\)$"
    with pytest.raises(InputError, match=message):
        session.run("text2music", **SONG, progress=progress)
    with pytest.raises(InputError, match=message):
        asyncio.run(session.run_async("text2music", **SONG, progress=progress))


class AsyncListener:
    """A callable whose call makes a coroutine."""

    async def __call__(self, event: Event) -> None:
        raise AssertionError("never awaited")


def test_an_async_callback_is_refused(session: Session, recwarn: pytest.WarningsRecorder) -> None:
    async def hear(event: Event) -> None:
        raise AssertionError("never awaited")

    def answer(event: Event) -> Any:
        return hear(event)

    for callback in (hear, AsyncListener(), partial(hear)):
        with pytest.raises(InputError, match=r"^progress: an async function \(allowed: a plain function"):
            session.start("text2music", **SONG, progress=callback)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="^progress: it returned a coroutine .*allowed: a plain function"):
        session.run("text2music", **LONG, cache="off", progress=answer)
    assert [str(warning.message) for warning in recwarn if "never awaited" in str(warning.message)] == []


def test_a_callback_that_fails_stops_the_run(session: Session) -> None:
    def fail() -> None:
        raise ZeroDivisionError("in the callback")

    with pytest.raises(ZeroDivisionError, match="in the callback"):
        session.run("text2music", **LONG, cache="off", progress=when_sampling(fail))

    def leave() -> None:
        raise SystemExit

    with pytest.raises(Cancelled, match="the progress callback raised SystemExit"):
        session.run("text2music", **LONG, cache="off", progress=when_sampling(leave))
    assert session.run("text2music", **SONG).audio.seconds > 0


def test_a_callback_cannot_wait_for_its_own_session(session: Session) -> None:
    with pytest.raises(InputError, match=r"^a progress callback must not call run\(\), .* only cancel\(\) is allowed$"):
        session.run("text2music", **LONG, progress=when_sampling(lambda: session.run("text2music", **SONG)))


def test_a_run_is_cancelled_midway_and_the_session_goes_on(session: Session) -> None:
    sampling = threading.Event()
    run = session.start("text2music", **LONG, progress=when_sampling(sampling.set))
    assert isinstance(run, RunHandle)
    assert sampling.wait(60)
    assert not run.wait(0)
    with pytest.raises(TimedOut) as over:
        run.result(timeout=0.001)
    assert isinstance(over.value, TimeoutError)
    assert str(over.value) == (
        "the run of text2music is not over after 0.001 s, and goes on; result() waits again, cancel() stops it"
    )
    run.cancel()
    run.cancel()
    with pytest.raises(Cancelled, match="the run was cancelled"):
        run.result()
    assert run.done
    assert repr(run) == "<RunHandle of text2music: done>"
    store = session.scheduler.cache.store
    assert store is not None
    assert not [path for path in store.root.rglob("*") if path.suffix in (".part", ".claim")]
    before = session.plan("text2music", **LONG)
    assert {node.id: node.fate for node in before.nodes} == {
        **dict.fromkeys(("prompt", "words", "noise"), "cached"),
        **dict.fromkeys(("take", "mel", "song"), "computed"),
    }
    assert session.run("text2music", **SONG).audio.seconds > 0


def test_cancelling_before_the_run_begins_and_after_it_ended(session: Session, result: RunResult) -> None:
    run = session.start("text2music", **LONG, cache="off")
    run.cancel()
    with pytest.raises(Cancelled):
        run.result()
    done = session.start("text2music", **SONG)
    assert done.result().audio == result.audio
    done.cancel()
    assert done.result().audio == result.audio


def test_a_deadline_stops_a_run(session: Session, small_root: Path, tmp_path: Path) -> None:
    with pytest.raises(DeadlineExceeded, match="0.2 s, its deadline"):
        session.run("text2music", **LONG, cache="off", deadline=0.2)
    with (
        Session(small_root, cache_folder=tmp_path, deadline=0.01) as hurried,
        pytest.raises(DeadlineExceeded, match=r"0.01 s"),
    ):
        hurried.run("text2music", **LONG)


def test_cache_modes(session: Session, result: RunResult, small_root: Path, tmp_path: Path) -> None:
    def sources(result: RunResult) -> set[str]:
        return {node.source for node in result.recipe.nodes}

    assert sources(session.run("text2music", **SONG)) == {"memory"}
    assert sources(session.run("text2music", **SONG, cache="refresh")) == {"computed"}
    assert sources(session.run("text2music", **SONG, cache="off")) == {"computed"}
    store = session.scheduler.cache.store
    assert store is not None
    with Session(small_root, cache_folder=store.root) as later:
        assert "disk" in sources(later.run("text2music", **SONG))
    with Session(small_root, cache_folder=tmp_path, cache="off") as apart:
        assert sources(apart.run("text2music", **SONG)) == sources(apart.run("text2music", **SONG)) == {"computed"}
        assert not list(tmp_path.rglob("*.safetensors"))
        assert sources(apart.run("text2music", **SONG, cache="use")) == {"computed"}
        assert sources(apart.run("text2music", **SONG, cache="use")) == {"memory"}


def test_a_plan_says_what_a_run_would_do(session: Session, result: RunResult) -> None:
    known, fresh = session.plan("text2music", **SONG), session.plan("text2music", **{**SONG, "seed": 4321})
    assert {node.fate for node in known.nodes} == {"cached"}
    assert {node.id for node in fresh.nodes if node.fate == "computed"} == {"noise", "take", "mel", "song"}
    assert fresh.complete
    assert fresh.seconds > 0
    assert {node.fate for node in session.plan("text2music", **SONG, cache="off").nodes} == {"computed"}
