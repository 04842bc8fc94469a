"""Answers in the form of 1.5: the envelope, and tasks with their takes."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from acestep_flows.api.store.records import RunRecord
from acestep_flows.compat.exchange import Exchange
from acestep_flows.compat.model_list import UNNAMED
from acestep_flows.compat.phases import Phase, Progress, error_message, phase_of
from acestep_flows.compat.takes import Take
from acestep_flows.errors import NotFound

SERVICE = "ACE-Step API"
WAITING, SUCCEEDED, FAILED = 0, 1, 2
STATUS = {Phase.QUEUED: WAITING, Phase.RUNNING: WAITING, Phase.SUCCEEDED: SUCCEEDED}
"""Of tasks by phase; every other phase has failed."""


def envelope(data: Any, **beside: Any) -> dict[str, Any]:
    """A success."""
    return {"data": data, "code": 200, "error": None, "timestamp": int(time.time() * 1000), "extra": None} | beside


def file_path(take: Take) -> str:
    """Where a client finds a take: it begins with /v1/, and has a question mark and no dots in a row."""
    asset, _, name = take.path.removeprefix("/files/").partition("/")
    name, _, signature = name.partition("?sig=")
    query = {"path": f"{asset}.{name.rpartition('.')[2]}"}
    return "/v1/audio?" + urlencode(query) + (f"&sig={signature}" if signature else "")


async def task(exchange: Exchange, id: str) -> dict[str, Any]:
    """A task by its id, with its takes as JSON text. One that does not exist has failed, lest a client wait for it."""
    try:
        record = await exchange.run(id)
    except NotFound:
        return _failed(id, "no such task")
    phase = phase_of(record)
    status = STATUS.get(phase, FAILED)
    if status == FAILED:
        why = str(phase) if phase is Phase.CANCELLED else exchange.redact(error_message(record))
        return _failed(id, why, record)
    if status == WAITING:
        progress = await exchange.progress(record)
        item = _item(record, status, stage=progress.node or str(phase), progress=round(progress.fraction, 4))
        return _task(id, status, [item], _told(phase, progress))
    try:
        takes = await exchange.takes(record)
    except NotFound:
        return _failed(id, "its file has expired", record)
    model = (await exchange.model()).name or UNNAMED
    return _task(id, status, [_song(record, take, model) for take in takes], "")


def _task(id: str, status: int, items: Sequence[dict[str, Any]], progress: str) -> dict[str, Any]:
    return {"task_id": id, "status": status, "result": json.dumps(items), "progress_text": progress}


def _failed(id: str, why: str, record: RunRecord | None = None) -> dict[str, Any]:
    item = _item(record, FAILED, stage="failed", error=why)
    return _task(id, FAILED, [item], "") | {"error": why}


def _told(phase: Phase, progress: Progress) -> str:
    if phase is Phase.QUEUED:
        return f"queued, {(progress.position or 0) + 1} in line"
    steps = f" {progress.step}/{progress.steps}" if progress.steps else ""
    return f"{progress.node}{steps}"


def _item(record: RunRecord | None, status: int, **own: Any) -> dict[str, Any]:
    item = {
        "file": "",
        "wave": "",
        "status": status,
        "create_time": int(record.created_at if record is not None else time.time()),
        "env": "production",
        "progress": 0.0,
        "stage": "",
        "error": None,
    }
    return item | own


def _song(record: RunRecord, take: Take, model: str) -> dict[str, Any]:
    labels = record.labels
    bpm = labels.get("bpm")
    tags = str(record.inputs.get("tags", ""))
    told = "\n".join(f"warning: {line}" for line in record.warnings)
    return _item(
        record,
        SUCCEEDED,
        file=file_path(take),
        prompt=tags,
        lyrics=str(record.inputs.get("lyrics", "")),
        metas={
            "bpm": (int(float(bpm)) if float(bpm).is_integer() else float(bpm)) if bpm else None,
            "duration": take.asset.details.get("seconds", record.inputs.get("duration")),
            "genres": tags,
            "keyscale": labels.get("key_scale", ""),
            "timesignature": labels.get("time_signature", ""),
        },
        generation_info=f"run {record.id}" + (f"\n{told}" if told else ""),
        warnings=list(record.warnings),
        seed_value="" if take.seed is None else str(take.seed),
        lm_model="",
        dit_model=model,
        progress=1.0,
        stage="succeeded",
    )
