"""Bodies of requests and responses about a caller: who it is, what it used, sessions, links, labels, its uploads."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from acestep_flows.api.http import examples
from acestep_flows.api.http.response_schemas import Asset
from acestep_flows.api.http.schema_base import Model, Text, with_examples

LONGEST_LINK = 366 * 86_400
_USAGE = {"owner": "alice", "runs": 41, "music_seconds": 1230.5, "compute_seconds": 812.25}
ME: dict[str, Any] = {
    "name": "alice",
    "requests_per_minute": 600,
    "runs": 20,
    "active_runs": 2,
    "compute_seconds_per_day": 3600,
    "compute_seconds_today": 812.25,
    "stored_bytes": 10_000_000_000,
    "stored_bytes_now": 41_233_900,
    "usage": _USAGE,
}
"""Example of a caller, in responses."""


class LabelChanges(Model):
    """Labels of a run to set. Null removes a label; those that are not named stay."""

    model_config = with_examples({"labels": {"title": "Night bus", "star": "1", "note": None}})

    labels: dict[Text, Text | None]


class AssetList(Model):
    """One page of uploads, newest first."""

    model_config = with_examples({"assets": [examples.UPLOADED], "next": None})

    assets: list[Asset]
    next: str | None = Field(None, description="The value of 'after' for the next page; null on the last page.")


class OwnerUsage(Model):
    """What one owner's ended runs used."""

    model_config = with_examples(_USAGE)

    owner: str = Field(description="Name of the API key; empty for runs of a server without keys.")
    runs: int = Field(description="Runs that ended, in whatever state.")
    music_seconds: float = Field(description="Length of their audio outputs together.")
    compute_seconds: float = Field(description="How long their stages computed. Cached results cost nothing.")


class UsageList(Model):
    """Usage by owner: the caller's own, or that of everybody on a server without keys."""

    model_config = with_examples({"usage": [_USAGE]})

    usage: list[OwnerUsage]


class Me(Model):
    """The caller: its name, limits and use."""

    model_config = with_examples(ME)

    name: str | None = Field(None, description="Name of the API key; null on a server without keys.")
    requests_per_minute: int | None = Field(None, description="Limit of requests; null is none.")
    runs: int | None = Field(None, description="Limit of queued and running runs; null is none.")
    active_runs: int = Field(description="Queued and running runs now.")
    compute_seconds_per_day: float | None = Field(
        None, description="Limit of seconds of computation in a day (UTC); null is none."
    )
    compute_seconds_today: float = Field(0, description="Seconds that runs computed which ended today (UTC).")
    stored_bytes: int | None = Field(None, description="Limit of bytes of uploads and outputs; null is none.")
    stored_bytes_now: int = Field(0, description="Bytes of uploads and outputs that are kept now.")
    usage: OwnerUsage


class SessionRequest(Model):
    """A key to sign in with."""

    model_config = with_examples({"key": "af_..."})

    key: Text = Field(max_length=1000, description="An API key of this server.")


class BrowserSession(Model):
    """A session that was opened; its cookie is in the response."""

    model_config = with_examples({"name": "alice", "expires_at": "2026-03-31T12:00:00Z"})

    name: str
    expires_at: datetime


class LinkRequest(Model):
    """How long a link works."""

    model_config = with_examples({"seconds": 86_400})

    seconds: int = Field(7 * 86_400, ge=1, le=LONGEST_LINK, description="Seconds until the link expires.")


class FileLink(Model):
    """A link to a file that works without a key."""

    model_config = with_examples(
        {
            "url": f"https://music.example.org/v1/links/{examples.ASSET}.1772971200.{'5f' * 32}",
            "expires_at": "2026-03-08T12:00:00Z",
            "direct": None,
        }
    )

    url: str
    expires_at: datetime
    direct: str | None = Field(
        None,
        description="A link to the file in the S3 store of the server, if the operator allows it. It works for as "
        "long, but seven days at most, also when the key of its owner is revoked.",
    )


class Peaks(Model):
    """The waveform of a file: the lowest and highest sample of short stretches."""

    model_config = with_examples({"per_second": 50, "seconds": 0.04, "peaks": [-12, 14, -90, 87]})

    per_second: int = Field(description="Pairs in a second.")
    seconds: float
    peaks: list[int] = Field(description="Lowest, highest, lowest, highest ...; -127 to 127, over all channels.")
