"""What is worth telling of a run when it is over: seeds that were drawn, steps, and what an edit changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acestep_flows.graph.planning.plan import Plan, PlanNode, outputs_in
from acestep_flows.session.original import Music, Original, changes
from acestep_flows.values import Audio, Latents, Report

MOST_LINES = 12
"""Lines of one sort; of a batch of songs the rest is counted."""

REGIONS = {"inside", "edges", "outside"}
"""The parts of a comparison, as `audio.locality` makes it."""


@dataclass(frozen=True)
class NamedReport:
    """A report among the outputs of a run.

    Attributes:
        name: of the output; in a list what it is about: `edit 2 of 3`.
        node: what made it.
    """

    name: str
    entries: Mapping[str, Any]
    node: PlanNode | None


def summary_lines(
    plan: Plan, outputs: Mapping[str, Any], drawn: Mapping[str, int], original: Original | None = None
) -> tuple[str, ...]:
    """A run in a few lines. Its warnings are told apart from it.

    Args:
        outputs: of the run, fetched.
        drawn: the seeds that nobody gave.
        original: the song that it varies, where it is none of its inputs.
    """
    reports = list(_reports(plan, outputs))
    several = sum("steps" in report.entries for report in reports) > 1
    sorts = (
        [f"{where} {seed}" for where, seed in drawn.items()],
        [line for report in reports if (line := _steps_line(report, several=several))],
        [line for report in reports if (line := _winner_line(report))],
        _change_lines(reports) or _nearness_lines(plan, reports, outputs, original),
    )
    return tuple(line for lines in sorts for line in _cut(lines))


def _cut(lines: list[str]) -> list[str]:
    return lines if len(lines) <= MOST_LINES else [*lines[:MOST_LINES], f"and {len(lines) - MOST_LINES} more"]


def _reports(plan: Plan, outputs: Mapping[str, Any]) -> Iterator[NamedReport]:
    """Every report among the outputs, with the node that made it."""

    def walk(name: str, content: Any, binding: Any) -> Iterator[NamedReport]:
        if isinstance(content, Report):
            first = next(outputs_in(binding), None)
            yield NamedReport(name, content.entries, plan.nodes.get(first.node) if first is not None else None)
        elif isinstance(content, (list, tuple)):
            for i, part in enumerate(content):
                inner = binding[i] if isinstance(binding, (list, tuple)) and len(binding) == len(content) else binding
                part_name = f"{_noun(part)} {i + 1} of {len(content)}" if isinstance(part, Report) else f"{name}[{i}]"
                yield from walk(part_name, part, inner)

    for name, content in outputs.items():
        yield from walk(name, content, plan.outputs.get(name))


def _noun(report: Report) -> str:
    """What a report among several is about."""
    return {"edit": "edit", "repaint": "part", "extend": "part"}.get(str(report.entries.get("task")), "song")


def _steps_line(report: NamedReport, *, several: bool) -> str:
    """The steps that were made, and why, if they are not those that were asked for; else empty."""
    made = report.entries.get("steps")
    params = report.node.params if report.node is not None else None
    asked = getattr(params, "steps", None)
    if not isinstance(made, int) or asked is None or made == asked:
        return ""
    prefix = f"{report.name}: " if several else ""
    return f"{prefix}{made} of {asked} steps: {_reason(report, params, made, asked)}"


def _reason(report: NamedReport, params: Any, made: int, asked: int) -> str:
    """Why a song was not made in the steps that were asked for."""
    skipped = f"the first {asked - made}" if asked - made > 1 else "the first one"
    if getattr(params, "oss_steps", None):
        return "oss_steps picks them"
    if made > asked:
        return f"{params.solver} asks the network more than once in a step"
    match report.entries.get("task"):
        case "repaint" | "extend":
            return f"variance {report.entries.get('variance'):g} starts from the song and skips {skipped}"
        case "edit":
            return f"minimum {params.minimum:g} keeps the song's shape and skips {skipped}"
        case "audio2audio":
            return f"strength {params.strength:g} starts near the reference and skips {skipped}"
    return f"{report.entries.get('task', 'the stage')} skips {skipped}"


def _winner_line(report: NamedReport) -> str:
    """Which of several takes was picked, and by what; empty for a report of anything else."""
    entries, takes = report.entries, report.entries.get("takes")
    if not isinstance(entries.get("picked"), int) or not isinstance(takes, list) or "seed" not in entries:
        return ""
    best, by = entries["picked"], str(entries.get("by"))
    others = ", ".join(_measured(take.get(by)) for i, take in enumerate(takes) if i != best)
    rest = f", the others {others}" if len(takes) <= MOST_LINES and others else ""
    broken = "; it breaks a limit, as all takes do" if takes[best].get("broken_bounds") else ""
    measured = f"{by} {_measured(takes[best].get(by))}{rest}{broken}"
    return f"take {best + 1} of {len(takes)} won: seed {entries['seed']}, {measured}"


def _measured(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else "not measured"


def _change_lines(reports: list[NamedReport]) -> list[str]:
    """What an edit changed: in latents, and as heard; of a span, outside and inside of it."""
    latents = [report.entries["locality"] for report in reports if isinstance(report.entries.get("locality"), Mapping)]
    heard = [report.entries.get("given", report.entries) for report in reports if report.entries.keys() >= REGIONS]
    if len(latents) > 1 or len(heard) > 1:  # a chain: only its end is heard
        latents = []
    parts = [("latents", change) for change in latents] + [("heard", change) for change in heard]
    outside, inside = _changes(parts, "outside"), _changes(parts, "inside")
    if outside and inside:
        return [f"outside the span: {outside}. Inside: {inside}"]
    if outside:
        return [f"what was there before: {outside}{_crossfade(reports, heard)}"]
    return [f"the whole song: {inside}"] if inside else []


def _nearness_lines(
    plan: Plan, reports: list[NamedReport], outputs: Mapping[str, Any], original: Original | None
) -> list[str]:
    """How near the song is to the one that it varies or follows, where no report compares them."""
    before: list[Music] = []
    if original is not None:
        before = original.music()
    elif any(report.entries.get("task") == "audio2audio" for report in reports):
        given = [value for value in plan.inputs.values() if isinstance(value, (Audio, Latents))]
        before = given if len(given) == 1 else []
    inside = _changes(changes(before, outputs), "inside")
    return [f"the whole song: {inside}"] if inside else []


def _crossfade(reports: list[NamedReport], heard: list[Mapping[str, Any]]) -> str:
    """Where samples that were put back differ after all: at the joints. Empty where they do not, or none were."""
    kept = any(report.entries.get("kept") == "samples" and report.entries.get("joints") for report in reports)
    differ = len(heard) == 1 and heard[0]["outside"].get("relative") != 0
    return ", all of it in the crossfade at the joint" if kept and differ else ""


def _changes(parts: Sequence[tuple[str, Mapping[str, Any]]], region: str) -> str:
    """The change of one region, in latents and as heard; empty where there is no such region."""
    return "; ".join(f"{what} {_size(change[region])}" for what, change in parts if change.get(region) is not None)


def _size(change: Mapping[str, Any]) -> str:
    """The difference over what was there."""
    if change.get("relative") == 0:
        return "the same"
    decibels = change.get("decibels")
    return "not silent any more" if decibels is None else f"{round(decibels)} dB"
