"""What is shown while a run or a download goes on."""

from __future__ import annotations

import sys
import time
from io import StringIO

import pytest

from acestep_flows.cli import progress
from acestep_flows.cli.progress import RemoteEvents
from acestep_flows.client import RunEvent
from acestep_flows.errors import FlowsError
from acestep_flows.graph.execution.events import Event, EventType
from acestep_flows.session import progress as run_progress
from acestep_flows.session.stage_words import WORDS, NodeWords
from acestep_flows.stages.registry import stages
from acestep_flows.weights.download import TransferProgress


def event(type: EventType, node: str = "take[3]", stage: str = "sample", **fields: float | FlowsError) -> Event:
    return Event(type, node, stage, 0.0, **fields)  # type: ignore[arg-type]


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


RUN = [
    event("started", "", ""),
    event("queued"),
    event("started"),
    event("progress", step=1, steps=2),
    event("progress", step=2, steps=2),
    event("finished", seconds=1.25),
    event("cached", "song", "vocode", seconds=2.0),
    event("skipped", "trim", "trim"),
    event("failed", "mix", "mix", error=FlowsError("loud")),
    event("failed", "", "", error=FlowsError("loud")),
]
STAGES = ["sample", "sample", "vocode", "trim", "mix"]


def test_every_stage_has_words() -> None:
    assert WORDS.keys() == stages().keys()
    assert len(set(WORDS.values())) == len(WORDS)


def test_a_stage_of_its_own_kind_needs_no_name() -> None:
    assert NodeWords(["sample", "vocode"]).of("take", "sample") == "sampling"
    assert NodeWords(["sample", "sample"]).of("take", "sample") == "sampling (take)"


def test_plain_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_progress, "PLAIN_SECONDS", 0.0)
    with progress.show_run(STAGES) as hear:
        for happening in RUN:
            hear(happening)
    assert capsys.readouterr().err.splitlines() == [
        "sampling (take[3]), step 1 of 2",
        "sampling (take[3]), step 2 of 2",
        "[1/5] sampling (take[3]): 1.2 s",
        "[2/5] making the waveform: cached",
        "[3/5] trimming: skipped",
    ]


def test_steps_are_told_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.show_run(["sample"]) as hear:
        hear(event("started"))
        for step in range(1000):
            hear(event("progress", step=step, steps=1000))
    assert len(capsys.readouterr().err.splitlines()) < 3


def test_a_long_stage_without_steps_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_progress, "STILL_SECONDS", 0.02)
    shown = ""
    with progress.show_run(["vocode"]) as hear:
        hear(event("started", "song", stage="vocode"))
        while "so far" not in shown:
            time.sleep(0.01)
            shown += capsys.readouterr().err
        hear(event("finished", "song", stage="vocode", seconds=1.0))
    assert shown.startswith("making the waveform, 0 s so far\n")


def test_large_graphs_are_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.show_run(["sample"] * 1000) as hear:
        for number in range(1000):
            hear(event("finished", f"take[{number}]", seconds=0.0))
    assert capsys.readouterr().err.splitlines() == ["[1000/1000] sampling (take[999]): 0.0 s"]


def test_a_terminal_gets_bars_and_keeps_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.show_run(STAGES) as hear:
        for happening in RUN:
            hear(happening)
    shown = terminal.getvalue()
    assert "sampling (take[3]): 1.2 s" in shown
    assert "making the waveform: cached" in shown


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.show_run(["sample"], quiet=True) as hear, progress.show_transfers(quiet=True) as hear_transfer:
        hear(event("finished", seconds=1.0))
        hear_transfer(TransferProgress("weights", "download", 1, 2))
    assert capsys.readouterr() == ("", "")


TRANSFERS = [
    TransferProgress("a", "download", 0, 2_000_000),
    TransferProgress("a", "download", 1_000_000, 2_000_000),
    TransferProgress("a", "verify", 2_000_000, 2_000_000),
    TransferProgress("b", "download", 500_000, 0),
]


def test_transfers_as_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.show_transfers() as hear:
        for transfer in TRANSFERS:
            hear(transfer)
    assert capsys.readouterr().err.splitlines() == [
        "download a: 0.0 MB, 0%",
        "verify a: 2.0 MB, 100%",
        "download b: 0.5 MB",
    ]


def test_a_transfer_is_told_when_it_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.show_transfers() as hear:
        for done in (0, 900_000, 1_000_000, 1_000_000):
            hear(TransferProgress("a", "download", done, 1_000_000))
    assert capsys.readouterr().err.splitlines() == ["download a: 0.0 MB, 0%", "download a: 1.0 MB, 100%"]


def test_transfers_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.show_transfers() as hear:
        for transfer in TRANSFERS:
            hear(transfer)
    assert "download b" in terminal.getvalue()


def run_event(seq: int, type: str, node: str = "", **more: object) -> RunEvent:
    return RunEvent(seq, type, node, node, 1.0, None, more)


def test_every_node_begins_and_ends_once() -> None:
    heard: list[Event] = []
    watched = RemoteEvents(heard.append)
    told = [("accepted", ""), ("started", ""), ("started", "words"), ("finished", "words"), ("started", "take")]
    told += [("progress", "take"), ("continued", ""), ("cached", "words"), ("started", "take"), ("progress", "take")]
    told += [("of_the_future", "take"), ("finished", "take"), ("succeeded", "")]
    for seq, (type, node) in enumerate(told):
        watched.hear(run_event(seq, type, node, step=3, steps=9, seconds=2.0))
    assert [(each.type, each.node) for each in heard] == [
        ("started", "words"),
        ("finished", "words"),
        ("started", "take"),
        ("progress", "take"),
        ("progress", "take"),
        ("finished", "take"),
    ]
    assert (heard[3].step, heard[3].steps, heard[1].seconds) == (3, 9, 2.0)


def test_a_check_is_told_while_it_lasts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with progress.show_checks() as begins:
        begins("torch")
    assert capsys.readouterr().err == "checking this machine, which takes up to a minute\n"
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.show_checks() as begins:
        begins("torch")
        begins("")
    assert terminal.getvalue().replace(progress.CLEAR_LINE, "|") == "|checking torch ...||"


def test_writing_that_takes_long_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_progress, "STILL_SECONDS", 0.02)
    shown = ""
    with run_progress.show_writing():
        while not shown:
            time.sleep(0.01)
            shown = capsys.readouterr().err
    assert shown.startswith("writing files, 0 s so far\n")
