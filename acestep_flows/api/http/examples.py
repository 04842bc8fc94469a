"""Examples in the OpenAPI document: one song from submission to its files."""

from __future__ import annotations

from typing import Any

RUN = "run-0006430c8a5d1e8f3b2c9d7a41"
ASSET = "asset-0006430c8a5d1e8f3b2c9d7a41"
LATENTS = "asset-0006430c8a5d1e8f3b2c9d7a42"

SONG: dict[str, Any] = {
    "tags": "lo-fi, piano, calm",
    "lyrics": "[verse]\nRain on the window",
    "duration": 30,
    "seed": 7,
}
INLINE: dict[str, Any] = {
    "graph": "mine",
    "version": 1,
    "inputs": {"source": {"type": "audio"}},
    "nodes": {"cut": {"stage": "trim", "with": {"audio": "$source", "span": [0, 10]}}},
    "outputs": {"audio": "$cut.audio"},
}
INPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"source": {"type": "string", "description": "The id of an asset with audio."}},
    "required": ["source"],
    "additionalProperties": False,
}

AUDIO_OUTPUT: dict[str, Any] = {
    "url": f"/v1/runs/{RUN}/outputs/audio",
    "content_type": "audio/flac",
    "bytes": 3_201_554,
    "kind": "audio",
    "file_name": "text2music-9d7a41.flac",
    "asset": ASSET,
    "expired": False,
}
LATENTS_OUTPUT: dict[str, Any] = {
    "url": f"/v1/runs/{RUN}/outputs/latents",
    "content_type": "application/octet-stream",
    "bytes": 165_704,
    "kind": "latents",
    "file_name": "text2music-9d7a41-latents.safetensors",
    "asset": LATENTS,
    "expired": False,
}
OUTPUTS: dict[str, Any] = {"outputs": {"audio": AUDIO_OUTPUT, "latents": LATENTS_OUTPUT}}

SUMMARY: dict[str, Any] = {
    "id": RUN,
    "graph": "text2music",
    "state": "succeeded",
    "progress": 1.0,
    "created_at": "2026-03-01T12:00:00Z",
    "started_at": "2026-03-01T12:00:00.100000Z",
    "finished_at": "2026-03-01T12:00:06.300000Z",
    "deadline_at": None,
    "seconds": 6.2,
    "priority": 0,
    "cache": "use",
    "format": "flac",
    "preview_every": None,
    "attempt": 1,
    "cancel_requested": False,
    **OUTPUTS,
    "error": None,
    "warnings": [],
    "labels": {"session": "2026-03-01", "star": "1", "title": "Night bus"},
    "inputs": None,
    "links": {"self": f"/v1/runs/{RUN}", "events": f"/v1/runs/{RUN}/events", "outputs": f"/v1/runs/{RUN}/outputs"},
}
WORKING: dict[str, Any] = SUMMARY | {
    "state": "running",
    "progress": 0.41,
    "finished_at": None,
    "seconds": None,
    "preview_every": 10,
    "outputs": {},
    "inputs": SONG | {"steps": 60},
    "nodes": [
        {"id": "prompt", "stage": "encode_prompt", "state": "cached", "seconds": 0.04},
        {
            "id": "take",
            "stage": "sample",
            "state": "started",
            "step": 25,
            "steps": 60,
            "preview": {
                "url": f"/v1/runs/{RUN}/previews/take",
                "step": 20,
                "steps": 60,
                "seconds": 30.0,
                "bytes": 5_292_044,
            },
        },
        {"id": "mel", "stage": "decode_latents", "state": "waiting"},
        {"id": "song", "stage": "vocode", "state": "waiting"},
    ],
    "queue_position": None,
    "estimate": 3.7,
}
QUEUED: dict[str, Any] = WORKING | {
    "state": "queued",
    "progress": 0.0,
    "started_at": None,
    "attempt": 0,
    "nodes": [],
    "queue_position": 3,
    "estimate": 24.0,
}
PAGE: dict[str, Any] = {"runs": [SUMMARY], "next": RUN}

ENTRY: dict[str, Any] = {
    "name": "text2music",
    "summary": "A song from tags and lyrics.",
    "url": "/v1/graphs/text2music",
    "ok": True,
}
DETAIL: dict[str, Any] = {
    "name": "mine",
    "digest": "5f3c" * 16,
    "summary": "The first ten seconds.",
    "url": "/v1/graphs/mine",
    "ok": True,
    "inputs": INPUT_SCHEMA,
    "outputs": {"audio": "audio"},
    "nodes": {"cut": "trim"},
    "description": "mine: The first ten seconds.",
    "mermaid": "flowchart LR\n  cut[trim]",
    "picture": "/v1/graphs/mine/picture.png",
}
CHECKED: dict[str, Any] = {"ok": True, "problems": [], "inputs": INPUT_SCHEMA}
PROBLEMS: dict[str, Any] = {
    "ok": False,
    "problems": [
        {
            "rule": "unknown-stage",
            "message": "no stage 'trimm', did you mean 'trim'?",
            "file": "graph",
            "line": 5,
            "column": 16,
            "node": "cut",
        }
    ],
    "inputs": None,
}
PLAN: dict[str, Any] = {
    "graph": "text2music",
    "digest": "5d41402abc4b2a76b9719d911017c592ae2b1f0d3c9c1b1f8a3d4d5e6f708192",
    "inputs": SONG | {"steps": 60},
    "nodes": [
        {"id": "prompt", "stage": "encode_prompt", "fate": "cached"},
        {"id": "take", "stage": "sample", "fate": "computed", "seconds": 5.1, "bytes": 165_376},
    ],
    "seconds": 6.2,
    "peak_bytes": 812_000_000,
    "warnings": [],
}
UPLOADED: dict[str, Any] = {
    "id": ASSET,
    "kind": "audio",
    "content_type": "audio/wav",
    "file_name": "song.wav",
    "bytes": 5_292_044,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "created_at": "2026-03-01T12:00:00Z",
    "run": None,
    "details": {"seconds": 30.0, "sample_rate": 44_100, "channels": 2},
    "url": f"/v1/assets/{ASSET}/content",
}
WELCOME: dict[str, Any] = {
    "name": "acestep_flows",
    "version": "1.0.0",
    "summary": "Text to music, and edits of music, as graphs of stages.",
    "documentation": "/docs",
    "openapi": "/openapi.json",
    "graphs": "/v1/graphs",
    "runs": "/v1/runs",
    "assets": "/v1/assets",
    "health": "/readyz",
    "studio": "/studio/",
}
STATS: dict[str, Any] = {
    "runs": {"queued": 2, "running": 1, "succeeded": 40, "failed": 1, "cancelled": 0},
    "queue_limit": 200,
    "streams": 3,
    "serving": {"all": [{"process": "all", "stages": ["sample", "vocode"], "under_way": 1, "calls": 240}]},
}
FAULT: dict[str, Any] = {
    "error": {
        "code": "invalid_input",
        "message": "duration: 900 (allowed: 0.1 to 240 s)",
        "node": None,
        "field": "duration",
        "allowed": "0.1 to 240 s",
    }
}
