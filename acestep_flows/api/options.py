"""What the ingress allows: one checked value, filled from the pool file and the command line."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MEGABYTE = 1 << 20


class ApiOptions(BaseModel):
    """Bounds and permissions of the HTTP interface."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queued: int | None = Field(1000, ge=0, description="Runs that may wait; one more is turned away. Null: no limit.")
    body_bytes: int = Field(2 * MEGABYTE, ge=1024, description="Largest request body, uploads aside.")
    upload_bytes: int = Field(200 * MEGABYTE, ge=1024, description="Largest upload.")
    upload_seconds: float = Field(600, gt=0, le=3600, description="Longest audio that may be uploaded.")
    upload_decoded_bytes: int = Field(
        512 * MEGABYTE, ge=MEGABYTE, description="Largest upload once decoded: against files that unfold."
    )
    input_decoded_bytes: int = Field(
        2048 * MEGABYTE, ge=MEGABYTE, description="What all assets that one run reads may take once decoded."
    )
    render_seconds: float = Field(300, gt=0, le=3600, description="How long a render request may wait for its song.")
    streams: int = Field(1000, ge=1, description="Event streams and requests that wait for a run, at once.")
    streams_each: int = Field(250, ge=1, description="Of those, how many one API key may have.")
    inline_graphs: bool = Field(False, description="Whether callers may run graphs of their own.")
    origins: tuple[str, ...] = Field((), description="Web origins that browsers may call from; '*' for all.")
    hosts: tuple[str, ...] = Field(
        (), description="Host names the server answers to; empty: all, but without API keys only loopback ones."
    )
    private_webhooks: bool = Field(False, description="Whether webhooks may go to private addresses.")
