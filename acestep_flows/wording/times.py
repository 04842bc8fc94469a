"""Moments as texts."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_time(seconds: float, timespec: str = "auto") -> str:
    """A moment in ISO 8601, such as `2026-03-08T12:00:00Z`.

    Args:
        seconds: since the epoch.
        timespec: how fine, as `datetime.isoformat` takes it.
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
