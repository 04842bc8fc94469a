"""Limits and permissions of the HTTP interface, set from the pool file and the command line."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MEGABYTE = 1 << 20


class ApiOptions(BaseModel):
    """Limits and permissions of the HTTP interface."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queued: int | None = Field(1000, ge=0, description="Queued runs; one more is refused. Null is no limit.")
    body_bytes: int = Field(2 * MEGABYTE, ge=1024, description="Largest request body in bytes, except uploads.")
    upload_bytes: int = Field(200 * MEGABYTE, ge=1024, description="Largest upload in bytes.")
    upload_seconds: float = Field(600, gt=0, le=3600, description="Longest audio that may be uploaded, in seconds.")
    upload_decoded_bytes: int = Field(
        512 * MEGABYTE, ge=MEGABYTE, description="Largest upload in bytes after decoding, against decompression bombs."
    )
    input_decoded_bytes: int = Field(
        2048 * MEGABYTE, ge=MEGABYTE, description="Total bytes after decoding of the assets that one run reads."
    )
    render_seconds: float = Field(300, gt=0, le=3600, description="Longest wait of a request for its run, in seconds.")
    streams: int = Field(1000, ge=1, description="Open event streams and requests that wait for a run.")
    streams_each: int = Field(250, ge=1, description="The same for one API key.")
    inline_graphs: bool = Field(False, description="Whether callers may run graphs of their own.")
    origins: tuple[str, ...] = Field((), description="Web origins that browsers may call from; '*' for all.")
    hosts: tuple[str, ...] = Field(
        (), description="Host names that the server answers to. Empty is all names; without API keys, loopback names."
    )
    private_webhooks: bool = Field(False, description="Whether webhooks may go to private addresses.")
