"""Graphs, dry runs and comparisons as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acestep_flows.graph.forecast import Forecast, NodeForecast
    from acestep_flows.graph.language import Graph
    from acestep_flows.graph.replay import Comparison


def summaries(graphs: Iterable[tuple[str, Graph]]) -> Iterator[str]:
    """One line for each graph: its name and the first line of its summary."""
    return table(
        [(name, graph.summary.partition("\n")[0] if graph.readable else "(not readable)") for name, graph in graphs]
    )


def forecast_lines(forecast: Forecast) -> Iterator[str]:
    """One line for each node of a dry run, then the sums."""
    yield from table([(node.id, node.stage, node.fate, _expectation(node)) for node in forecast.nodes])
    computed = [node for node in forecast.nodes if node.fate == "computed"]
    unknown = sum(node.seconds is None for node in computed)
    least = f", and {unknown} that never ran here" if unknown else ""
    yield f"{len(forecast.nodes)} nodes, {len(computed)} to compute: about {forecast.seconds:.1f} s{least}"
    peak = (
        f"{forecast.peak / 1e9:.1f} GB at the last run" if forecast.peak is not None else "unknown before a first run"
    )
    yield f"peak memory: {peak}; values held between nodes: {forecast.held / 1e6:.0f} MB"


def _expectation(node: NodeForecast) -> str:
    if node.problem:
        return node.problem
    if node.fate != "computed":
        return ""
    return "? s" if node.seconds is None else f"{node.seconds:.1f} s"


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """What a replay found, the first difference last, where it is seen."""
    yield from table([(node.id, node.stage, node.verdict) for node in comparison.nodes])
    yield "every node gave the same" if comparison.first is None else f"first difference: {comparison.first}"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows as lines, columns aligned, no blanks at line ends."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
