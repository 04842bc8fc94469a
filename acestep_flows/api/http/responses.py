"""Converts records of the store to response schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from acestep_flows.api.http.errors import Redactor
from acestep_flows.api.http.response_schemas import (
    Asset,
    Fault,
    Links,
    Node,
    Output,
    OutputList,
    Preview,
    Run,
    RunSummary,
)
from acestep_flows.api.store.records import AssetRecord, NodeRecord, PreviewRecord, QueueEstimate, RunRecord

NO_ESTIMATE = QueueEstimate(None, None)


class ResponseBuilder:
    """Builds the response bodies of one request.

    Args:
        base: prefix of every path, where a proxy mounts the service.
        redact: removes the server's folders from messages.
        silent: tell cache hits as computations, also those that were written before callers shared the server.
    """

    def __init__(self, base: str, redact: Redactor, silent: bool = False) -> None:
        self._base, self._redact, self._silent = base, redact, silent

    @property
    def base(self) -> str:
        """Prefix of every path, where a proxy mounts the service."""
        return self._base

    def run_url(self, id: str) -> str:
        return f"{self._base}/v1/runs/{id}"

    def graph_url(self, name: str) -> str:
        return f"{self._base}/v1/graphs/{name}"

    def summary(self, record: RunRecord, inputs: bool = False) -> RunSummary:
        return RunSummary(**self._shared(record), inputs=dict(record.inputs) if inputs else None)

    def run(
        self,
        record: RunRecord,
        nodes: Sequence[NodeRecord],
        estimate: QueueEstimate = NO_ESTIMATE,
        previews: Sequence[PreviewRecord] = (),
    ) -> Run:
        preview_of = {preview.node: self._preview(preview) for preview in previews}
        return Run(
            **self._shared(record),
            inputs=dict(record.inputs),
            nodes=[self._node(node, preview_of.get(node.id)) for node in nodes],
            queue_position=estimate.position,
            estimate=estimate.seconds,
        )

    def asset(self, record: AssetRecord) -> Asset:
        return Asset(
            id=record.id,
            kind=record.kind,
            content_type=record.content_type,
            file_name=record.file_name,
            bytes=record.bytes,
            sha256=record.digest,
            created_at=_time(record.created_at),
            run=record.run,
            details=dict(record.details),
            url=f"{self._base}/v1/assets/{record.id}/content",
        )

    def outputs(self, record: RunRecord) -> OutputList:
        url = self.run_url(record.id)
        return OutputList(
            outputs={
                name: Output(
                    url=f"{url}/outputs/{quote(name, safe='')}",
                    content_type=output.content_type,
                    bytes=output.bytes,
                    kind=output.kind,
                    file_name=output.file_name,
                    asset=output.asset,
                    expired=output.expired,
                )
                for name, output in record.outputs.items()
            }
        )

    def _shared(self, record: RunRecord) -> dict[str, Any]:
        url = self.run_url(record.id)
        return {
            "id": record.id,
            "graph": record.graph,
            "state": record.state,
            "progress": record.progress,
            "created_at": _time(record.created_at),
            "started_at": _optional_time(record.started_at),
            "finished_at": _optional_time(record.finished_at),
            "deadline_at": _optional_time(record.deadline_at),
            "seconds": record.seconds,
            "priority": record.priority,
            "cache": record.cache,
            "format": record.format,
            "preview_every": record.preview_every,
            "attempt": record.attempt,
            "cancel_requested": record.cancel_requested,
            "outputs": self.outputs(record).outputs,
            "error": self.fault(record.error),
            "warnings": [self._redact(warning) for warning in record.warnings],
            "labels": dict(record.labels),
            "links": Links(self=url, events=f"{url}/events", outputs=f"{url}/outputs"),
        }

    def _preview(self, preview: PreviewRecord) -> Preview:
        return Preview(
            url=f"{self.run_url(preview.run)}/previews/{quote(preview.node, safe='')}",
            step=preview.step,
            steps=preview.steps,
            seconds=preview.seconds,
            bytes=preview.bytes,
        )

    def _node(self, node: NodeRecord, preview: Preview | None) -> Node:
        return Node(
            id=node.id,
            stage=node.stage,
            state="finished" if self._silent and node.state == "cached" else node.state,
            step=node.step,
            steps=node.steps,
            seconds=node.seconds,
            error=self.fault(node.error),
            preview=preview,
        )

    def fault(self, error: Mapping[str, Any] | None) -> Fault | None:
        """An error of the store; None stays None."""
        if error is None:
            return None
        texts = {name: self._redact(str(error[name])) for name in ("message", "field", "allowed") if error.get(name)}
        return Fault(code=str(error.get("code", "error")), node=error.get("node") or None, **{"message": "", **texts})


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _optional_time(seconds: float | None) -> datetime | None:
    return None if seconds is None else _time(seconds)
