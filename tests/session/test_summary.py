"""The lines that a run ends with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from acestep_flows import Session
from acestep_flows.graph.planning.plan import NodeOutput, Plan, PlanNode
from acestep_flows.session.summary import MOST_LINES, summary_lines
from acestep_flows.values import Report
from tests.session.songs import SONG, SOURCE, WORDS

SAME = {"relative": 0.0, "decibels": None}
SOFT = {"relative": 0.03, "decibels": -30.6}
NOTHING = {"inside": None, "edges": None, "outside": None}


def told(*reports: dict[str, Any], heard: dict[str, Any] | None = None, **params: Any) -> list[str]:
    """The lines of a run with these reports, made by a stage with these parameters."""
    node = PlanNode("made", "repaint", {}, params=SimpleNamespace(**{"steps": 20, **params}))  # type: ignore[arg-type]
    bindings: dict[str, Any] = {f"report{i}": NodeOutput("made", "report") for i in range(len(reports))}
    outputs: dict[str, Any] = {f"report{i}": Report(entries) for i, entries in enumerate(reports)}
    if heard is not None:
        outputs["heard"] = Report(heard)
    return list(summary_lines(Plan("g", "", {}, {"made": node}, bindings), outputs, {}))


def test_an_edit_says_what_changed_outside_its_span() -> None:
    report = {"locality": {**NOTHING, "inside": SOFT, "outside": SAME}}
    assert told(report, heard={**NOTHING, "inside": SOFT, "outside": SOFT}) == [
        "outside the span: latents the same; heard -31 dB. Inside: latents -31 dB; heard -31 dB"
    ]
    given = {**NOTHING, "inside": SOFT, "outside": SAME}
    assert told(report, heard={**NOTHING, "inside": SOFT, "outside": SOFT, "given": given}) == [
        "outside the span: latents the same; heard the same. Inside: latents -31 dB; heard -31 dB"
    ]


def test_an_extension_and_an_edit_of_the_whole_song() -> None:
    assert told({"locality": {**NOTHING, "outside": SAME}}, heard={**NOTHING, "outside": SOFT}) == [
        "what was there before: latents the same; heard -31 dB"
    ]
    joints = {"kept": "samples", "joints": [{"start": 4.89, "end": 4.92}]}
    given = {**NOTHING, "outside": SOFT}
    assert told(
        {"locality": {**NOTHING, "outside": SAME}}, joints, heard={**NOTHING, "outside": SOFT, "given": given}
    ) == ["what was there before: latents the same; heard -31 dB, all of it in the crossfade at the joint"]
    decoded = {**joints, "kept": "latents"}
    assert told({"locality": {**NOTHING, "outside": SAME}}, decoded, heard={**NOTHING, "outside": SOFT}) == [
        "what was there before: latents the same; heard -31 dB"
    ]
    silent = {"relative": None, "decibels": None}
    assert told({"locality": {**NOTHING, "inside": SOFT}}, heard={**NOTHING, "inside": silent}) == [
        "the whole song: latents -31 dB; heard not silent any more"
    ]
    assert told({"locality": NOTHING}) == []


def test_of_a_chain_the_end_is_told() -> None:
    one = {"locality": {**NOTHING, "inside": SOFT}}
    assert told(one, one, heard={**NOTHING, "inside": SOFT}) == ["the whole song: heard -31 dB"]


@pytest.mark.parametrize(
    ("report", "params", "line"),
    [
        ({"task": "text2music", "steps": 20}, {}, None),
        (
            {"task": "repaint", "steps": 10, "variance": 0.5},
            {},
            "10 of 20 steps: variance 0.5 starts from the song and skips the first 10",
        ),
        (
            {"task": "edit", "steps": 19},
            {"minimum": 0.05},
            "19 of 20 steps: minimum 0.05 keeps the song's shape and skips the first one",
        ),
        (
            {"task": "audio2audio", "steps": 14},
            {"strength": 0.3},
            "14 of 20 steps: strength 0.3 starts near the reference and skips the first 6",
        ),
        ({"task": "text2music", "steps": 3}, {"oss_steps": (1, 2, 3)}, "3 of 20 steps: oss_steps picks them"),
        (
            {"task": "text2music", "steps": 39},
            {"solver": "heun"},
            "39 of 20 steps: heun asks the network more than once in a step",
        ),
    ],
)
def test_steps_that_differ_from_those_asked_for(
    report: dict[str, Any], params: dict[str, Any], line: str | None
) -> None:
    assert told(report, **params) == ([] if line is None else [line])


def test_the_best_of_several_takes_is_told_with_its_seed_and_measure() -> None:
    takes = [{"fit": 0.5, "seed": 7, "broken_bounds": 0}, {"fit": 0.75, "seed": 9, "broken_bounds": 0}]
    report = {"picked": 1, "takes": takes, "seed": 9, "by": "fit", "value": 0.75}
    assert told(report) == ["take 2 of 2 won: seed 9, fit 0.75, the others 0.5"]
    silent = [{**take, "fit": None, "broken_bounds": 1} for take in takes]
    (line,) = told({**report, "takes": silent})
    assert line.endswith("fit not measured, the others not measured; it breaks a limit, as all takes do")
    assert told({"picked": 0, "takes": [{"fit": 1}]}) == []


def test_best_of_says_which_take_won(session: Session) -> None:
    song = session.run("best-of", **WORDS, duration=1, steps=1, seeds=[4, 5], by="key_fit")
    winner = song.report.entries["seed"]
    assert winner == [4, 5][song.index]
    assert song.summary[-1].startswith(f"take {song.index + 1} of 2 won: seed {winner}, key_fit ")


def test_long_lists_are_cut() -> None:
    reports = [{"task": "audio2audio", "steps": 5}] * (MOST_LINES + 3)
    lines = told(*reports, strength=0.75)
    assert lines[0].startswith("report0: 5 of 20 steps: ")
    assert lines[-1] == "and 3 more"
    assert len(lines) == MOST_LINES + 1


def test_drawn_seeds_are_told_and_given_ones_are_not(session: Session) -> None:
    song = session.run("text2music", **{**SONG, "seed": "random"})
    assert song.drawn == {"seed": song.inputs["seed"]}
    assert song.summary == (f"seed {song.inputs['seed']}",)
    again = session.run("text2music", **song.inputs)
    assert (again.drawn, again.summary) == ({}, ())
    takes = session.run("batch-takes", **WORDS, duration=1, steps=1, seeds=["random", 5])
    assert takes.drawn == {"seeds[0]": takes.inputs["seeds"][0]}


def test_a_repaint_tells_seed_steps_and_change(session: Session) -> None:
    painted = session.run("repaint", **WORDS, source=SOURCE, span=(0.2, 0.4), steps=4)
    seed, steps, change = painted.summary
    assert seed == f"seed {painted.inputs['seed']}"
    assert steps == "2 of 4 steps: variance 0.5 starts from the song and skips the first 2"
    assert change.startswith("outside the span: latents the same")
    assert ". Inside: latents " in change


def test_edits_of_a_chain_are_told_apart() -> None:
    node = PlanNode("made", "edit", {}, params=SimpleNamespace(steps=20, minimum=0.5))  # type: ignore[arg-type]
    outputs = {"reports": [Report({"task": "edit", "steps": steps}) for steps in (10, 9)]}
    plan = Plan("g", "", {}, {"made": node}, {"reports": NodeOutput("made", "report")})
    first, second = summary_lines(plan, outputs, {})
    assert first.startswith("edit 1 of 2: 10 of 20 steps: minimum 0.5")
    assert second.startswith("edit 2 of 2: 9 of 20 steps")
