"""Runs as predictions, and uploads as files, in the form of Replicate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acestep_flows.api.service import Service
from acestep_flows.api.store.records import AssetRecord, QueueEstimate, RunRecord
from acestep_flows.compat.phases import Phase, error_message, phase_of, progress_of
from acestep_flows.compat.replicate.models import model_of
from acestep_flows.compat.takes import takes_of
from acestep_flows.errors import NotFound
from acestep_flows.wording.times import utc_time

STATUS = {
    Phase.QUEUED: "starting",
    Phase.RUNNING: "processing",
    Phase.SUCCEEDED: "succeeded",
    Phase.CANCELLED: "canceled",
}
"""Of predictions by phase; every other phase has failed."""

BARS = 10


def status_of(record: RunRecord) -> str:
    """The status of a prediction."""
    return STATUS.get(phase_of(record), "failed")


def prediction_of(service: Service, record: RunRecord, address: str, owner: str | None = None) -> dict[str, Any]:
    """A run as a prediction. Blocks.

    Args:
        address: of the family, absolute.
        owner: who asks; None sees all.
    """
    model = model_of(record)
    output: Any = None
    expired = False
    if phase_of(record) is Phase.SUCCEEDED:
        try:
            urls = [take.url for take in takes_of(service, record, address, owner)]
            output = urls if model.many or len(urls) > 1 else next(iter(urls), None)
        except NotFound:
            expired = True
    failed = status_of(record) == "failed"
    at = f"{address}/v1/predictions/{record.id}"
    return {
        "id": record.id,
        "model": model.name,
        "version": model.version,
        "status": status_of(record),
        "input": model.inputs(record, address),
        "output": output,
        "logs": _logs(service, record),
        "error": service.redact(error_message(record)) if failed else None,
        "metrics": _metrics(record),
        "created_at": _time(record.created_at),
        "started_at": _time(record.started_at),
        "completed_at": _time(record.finished_at),
        "data_removed": expired,
        "urls": {"get": at, "cancel": f"{at}/cancel"},
    }


def webhook(service: Service, record: RunRecord) -> Mapping[str, Any]:
    """The body of a webhook: the prediction."""
    return prediction_of(service, record, str((record.webhook or {}).get("base", "")))


def file_of(asset: AssetRecord, address: str) -> dict[str, Any]:
    """An upload as a file."""
    return {
        "id": asset.id,
        "name": asset.file_name,
        "content_type": asset.content_type,
        "size": asset.bytes,
        "etag": asset.digest,
        "checksums": {"sha256": asset.digest},
        "metadata": asset.details.get("metadata", {}),
        "created_at": _time(asset.created_at),
        "expires_at": None,
        "urls": {"get": f"{address}/v1/files/{asset.id}"},
    }


def _logs(service: Service, record: RunRecord) -> str:
    """Warnings, then how far the run is, as clients read it: `45%|####      | 27/60`."""
    lines = [f"warning: {line}" for line in record.warnings]
    if record.started_at is not None:
        nodes = () if record.state.ended else service.home.runs.nodes(record.id)
        progress = progress_of(record, nodes, QueueEstimate(None, None))
        percent = int(100 * progress.fraction)
        step, steps = (progress.step, progress.steps) if progress.steps else (percent, 100)
        lines.append(f"{percent}%|{'#' * (percent * BARS // 100):{BARS}}| {step}/{steps}")
    return "".join(f"{service.redact(line)}\n" for line in lines)


def _metrics(record: RunRecord) -> dict[str, float] | None:
    if record.finished_at is None:
        return None
    total = record.finished_at - record.created_at
    return {"predict_time": round(record.seconds or 0.0, 3), "total_time": round(total, 3)}


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else utc_time(seconds)
