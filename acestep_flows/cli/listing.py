"""Graphs, dry runs and comparisons as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acestep_flows.client import Node, Run
    from acestep_flows.graph.execution.forecast import Forecast, NodeForecast
    from acestep_flows.graph.language.syntax import Graph
    from acestep_flows.graph.records.replay import Comparison
    from acestep_flows.session import RunResult
    from acestep_flows.stages.contract import Stage


NOT_KNOWN = "not known before a first run"


def written_lines(graph: Graph) -> Iterator[str]:
    """How common inputs are written on the command line, for those that are not plain to see."""
    from acestep_flows.input_reader import form_of

    forms = {
        name: form_of(one.type, name)
        for name, one in graph.inputs.items()
        if one.type.kind in ("list", "record", "span") and not one.advanced
    }
    if forms:
        yield "\nOn the command line"
        yield from (f"  --set {form}" for form in forms.values())


def summaries(graphs: Iterable[tuple[str, Graph]]) -> Iterator[str]:
    """One line for each graph, its name and the first line of its summary; building blocks come last."""
    ordered = sorted(graphs, key=lambda entry: entry[1].is_building_block)
    return table(
        [(name, graph.summary.partition("\n")[0] if graph.readable else "(not readable)") for name, graph in ordered]
    )


def stage_lines(stage: type[Stage]) -> Iterator[str]:
    """The inputs and outputs of a stage."""
    from acestep_flows.stages.reference import describe, summary, type_name

    yield f"{stage.name}: {summary(stage)}"
    for title, ports in (("takes", stage.inputs()), ("gives", stage.outputs())):
        yield from ("", title)
        for port in ports.values():
            yield f"  {port.name}: {type_name(port)}"
            if described := describe(port):
                yield f"      {described}"


def forecast_lines(forecast: Forecast) -> Iterator[str]:
    """One line for each node of a dry run, then the sums."""
    yield from table([(node.id, node.stage, node.fate, _expectation(node)) for node in forecast.nodes])
    computed = [node for node in forecast.nodes if node.fate == "computed"]
    unknown = sum(node.seconds is None for node in computed)
    if computed and unknown == len(computed):
        time = NOT_KNOWN
    else:
        more = f"; of {unknown} more {NOT_KNOWN}" if unknown else ""
        time = f"about {forecast.seconds:.1f} s, in proportion to earlier songs{more}" if computed else "0 s"
    yield f"{len(forecast.nodes)} nodes, {len(computed)} to compute: {time}"
    peak = f"{forecast.peak / 1e9:.1f} GB at the last run" if forecast.peak is not None else NOT_KNOWN
    yield f"peak memory: {peak}; values held between nodes: {forecast.held / 1e6:.0f} MB"


def _expectation(node: NodeForecast) -> str:
    if node.problem:
        return node.problem
    if node.fate != "computed":
        return ""
    return "time not known" if node.seconds is None else f"{node.seconds:.1f} s"


def run_facts(result: RunResult, files: Sequence[Path]) -> dict[str, Any]:
    """A run that is over, as JSON."""
    from acestep_flows.values import Report

    def reports(content: Any) -> Any:
        return [reports(part) for part in content] if isinstance(content, list) else content.entries

    def is_report(content: Any) -> bool:
        return all(map(is_report, content)) if isinstance(content, list) else isinstance(content, Report)

    return {
        "graph": result.graph,
        "files": [str(path) for path in files],
        "seeds": dict(result.seeds),
        "drawn": dict(result.drawn),
        "reports": {name: reports(content) for name, content in result.outputs.items() if is_report(content)},
        "summary": list(result.summary),
        "warnings": list(result.warnings),
        "seconds": result.seconds,
    }


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """One line for each node of a replay, then the first difference."""
    yield from table([(node.id, node.stage, node.verdict) for node in comparison.nodes])
    yield "every node gave the same" if comparison.first is None else f"first difference: {comparison.first}"


def runs_lines(runs: Sequence[Run]) -> Iterator[str]:
    """One line for each run on a server; times are UTC, as the server writes them."""
    if not runs:
        yield "no runs"
        return
    yield from table([(run.id, run.graph, run.state, f"{run.progress:.0%}", f"{run.created_at[:19]}Z") for run in runs])


def run_lines(run: Run, paused: bool = False) -> Iterator[str]:
    """A run on a server: its state, its nodes, and its outputs or its error.

    Args:
        paused: whether the queue is, so that nobody knows when a waiting run begins.
    """
    yield f"{run.id}  {run.graph}  {run.state}  {run.progress:.0%}"
    if run.queue_position is not None:
        are = "run is" if run.queue_position == 1 else "runs are"
        yield f"{run.queue_position} {are} before it"
    if run.estimate is not None and not run.ended and not paused:
        yield f"about {run.estimate:.0f} s to go"
    nodes = [(node.id, node.stage, node.state, _standing(node)) for node in run.nodes]
    yield from (f"  {line}" for line in table(nodes))
    outputs = [
        (name, output.content_type, f"{output.bytes} bytes", output.asset) for name, output in run.outputs.items()
    ]
    yield from (f"  {line}" for line in table(outputs))
    yield from (f"warning: {warning}" for warning in run.warnings)
    if run.failure is not None:
        yield f"{run.failure}"


def _standing(node: Node) -> str:
    if node.state == "started" and node.step is not None:
        return f"step {node.step} of {node.steps}"
    return "" if node.seconds is None else f"{node.seconds:.1f} s"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows as lines, columns aligned, no blanks at line ends."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
