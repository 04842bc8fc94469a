"""Runs as requests of fal's queue: their status, their result, and their webhook."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from acestep_flows.api.service import Service
from acestep_flows.api.store.records import RunRecord
from acestep_flows.compat.phases import Phase, error_message, phase_of, progress_of
from acestep_flows.compat.takes import takes_of
from acestep_flows.errors import NotFound

FAILURES = {
    Phase.INVALID: (422, "bad_request"),
    Phase.FAILED: (500, "internal_error"),
    Phase.TIMED_OUT: (504, "request_timeout"),
    Phase.CANCELLED: (499, "client_cancelled"),
}
"""Status and type of the error of a request that has not succeeded."""


def failure_of(service: Service, record: RunRecord) -> tuple[int, str, Any]:
    """Why a request has failed: the status, the type and the detail of its error."""
    status, kind = FAILURES[phase_of(record)]
    message = service.redact(error_message(record)) or f"the request was {phase_of(record)}"
    return status, kind, unplaced(message) if status == 422 else message


def unplaced(message: str) -> list[dict[str, Any]]:
    """The detail of an invalid request in which no field is at fault."""
    return [{"loc": ["body"], "msg": message, "type": "value_error"}]


def status_of(service: Service, record: RunRecord, logs: bool) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the body of a request's status. Blocks.

    Args:
        logs: whether warnings and progress are told.
    """
    phase = phase_of(record)
    progress = progress_of(
        record,
        service.home.runs.nodes(record.id),
        service.home.runs.queue_estimate(record.id, service.keys.are_several),
    )
    if phase is Phase.QUEUED:
        return 202, {"status": "IN_QUEUE", "queue_position": progress.position or 0, "logs": []}
    lines = [("WARNING", line, record.created_at) for line in record.warnings]
    if phase is Phase.RUNNING:
        steps = f" {progress.step}/{progress.steps}" if progress.steps else ""
        lines.append(("INFO", f"{progress.fraction:.0%} {progress.node}{steps}", record.started_at or 0.0))
    content: dict[str, Any] = {"status": "COMPLETED" if phase.ended else "IN_PROGRESS"}
    content["logs"] = [_log(level, service.redact(line), at) for level, line, at in lines] if logs else []
    if not phase.ended:
        return 202, content
    content["metrics"] = {"inference_time": round(record.seconds or 0.0, 3)}
    if phase in FAILURES:
        _, kind, detail = failure_of(service, record)
        content |= {"error": detail[0]["msg"] if isinstance(detail, list) else detail, "error_type": kind}
    return 200, content


def _log(level: str, message: str, at: float) -> dict[str, str]:
    return {
        "message": message,
        "level": level,
        "source": "acestep_flows",
        "timestamp": datetime.fromtimestamp(at, UTC).isoformat(),
    }


def result_of(service: Service, record: RunRecord, address: str, owner: str | None = None) -> dict[str, Any]:
    """The result of a request that has succeeded. Blocks.

    Raises:
        NotFound: its file has expired.
    """
    take = takes_of(service, record, address, owner)[0]
    inputs = record.inputs
    return {
        "audio": {
            "url": take.url,
            "content_type": take.asset.content_type,
            "file_name": take.asset.file_name,
            "file_size": take.asset.bytes,
        },
        "seed": take.seed,
        "tags": inputs.get("new_tags", inputs.get("tags", "")),
        "lyrics": inputs.get("new_lyrics", inputs.get("lyrics", "")),
        "warnings": [service.redact(line) for line in record.warnings],
    }


def webhook(service: Service, record: RunRecord) -> Mapping[str, Any]:
    """The body of the webhook of a request that has ended."""
    about = {"request_id": record.id, "gateway_request_id": record.id}
    if phase_of(record) in FAILURES:
        status, kind, detail = failure_of(service, record)
        error = f"Invalid status code: {status}"
        return about | {"status": "ERROR", "error": error, "payload": {"detail": detail, "error_type": kind}}
    try:
        result = result_of(service, record, str((record.webhook or {}).get("base", "")))
    except NotFound as error:
        return about | {"status": "OK", "payload": None, "payload_error": str(error)}
    return about | {"status": "OK", "payload": result}
