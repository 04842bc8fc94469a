"""What commands print with --json: one JSON document on stdout."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from acestep_flows.graph.execution.forecast import Forecast
    from acestep_flows.graph.language.syntax import Graph
    from acestep_flows.graph.records.replay import Comparison
    from acestep_flows.stages.contract import Port, Stage

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def print_json(content: Any) -> None:
    """Write `content` to stdout as JSON."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def graphs_content(graphs: Iterable[tuple[str, Graph]]) -> list[dict[str, Any]]:
    """The graphs that can be run by name."""
    return [
        {
            "name": name,
            "summary": graph.summary if graph.readable else "",
            "readable": graph.readable,
            "inputs": list(graph.inputs),
            "file": str(graph.file),
        }
        for name, graph in graphs
    ]


def stage_content(stage: type[Stage]) -> dict[str, Any]:
    """A stage with its ports."""
    from acestep_flows.stages.reference import summary

    return {
        "name": stage.name,
        "version": stage.version,
        "summary": summary(stage),
        "takes": [_port(port) for port in stage.inputs().values()],
        "gives": [_port(port) for port in stage.outputs().values()],
    }


def _port(port: Port) -> dict[str, Any]:
    return {
        "name": port.name,
        "type": str(port.type),
        "required": port.required,
        "description": port.description,
        "schema": port.schema,
    }


def forecast_content(graph: str, forecast: Forecast) -> dict[str, Any]:
    """A dry run: sizes in bytes, times in seconds, null where not known before a first run."""
    nodes = [
        {"id": node.id, "stage": node.stage, "fate": node.fate, "seconds": node.seconds, "bytes": node.nbytes}
        | ({"problem": node.problem} if node.problem else {})
        for node in forecast.nodes
    ]
    return {
        "graph": graph,
        "nodes": nodes,
        "seconds": forecast.seconds if forecast.complete else None,
        "known_seconds": forecast.seconds,
        "held_bytes": forecast.held,
        "peak_bytes": forecast.peak,
    }


def comparison_content(comparison: Comparison) -> dict[str, Any]:
    """A replay, node by node."""
    return {
        "same": comparison.same,
        "first_difference": comparison.first.id if comparison.first is not None else None,
        "nodes": [asdict(node) for node in comparison.nodes],
    }
