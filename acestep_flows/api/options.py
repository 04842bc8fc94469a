"""Limits and permissions of the HTTP interface, set from the pool file and the command line."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

MEGABYTE = 1 << 20
COMPAT = "/compat/"
"""Below this path are the interfaces of other servers, each under its name."""


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
    nodes: int = Field(10_000, ge=1, le=50_000, description="Most nodes of one run.")
    render_seconds: float = Field(300, gt=0, le=3600, description="Longest wait of a request for its run, in seconds.")
    streams: int = Field(1000, ge=1, description="Open event streams and requests that wait for a run.")
    streams_each: int = Field(250, ge=1, description="The same for one API key.")
    inline_graphs: bool = Field(False, description="Whether callers may run graphs of their own.")
    origins: tuple[str, ...] = Field((), description="Web origins that browsers may call from; '*' for all.")
    hosts: tuple[str, ...] = Field(
        (), description="Host names that the server answers to. Empty is all names; without API keys, loopback names."
    )
    studio: bool = Field(True, description="Whether the page is served at /studio/.")
    private_webhooks: bool = Field(False, description="Whether webhooks may go to private addresses.")
    private_fetches: bool = Field(False, description="Whether audio may be fetched from private addresses.")
    direct_links: bool = Field(False, description="Whether links to files lead straight into an S3 store.")
    speak: tuple[str, ...] = Field((), description="Families of other servers' interfaces that are spoken, by name.")
    public_url: str | None = Field(
        None, description="Address of the server for others, such as behind a proxy. A path in it is a prefix of all."
    )

    @field_validator("public_url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        return None if url is None else public_address(url)

    @property
    def prefix(self) -> str:
        """The path of the public URL, without a slash at the end; empty if there is none."""
        return "" if self.public_url is None else urlsplit(self.public_url).path


def web_origin(text: str) -> str:
    """`text` if it is the origin of web pages, or `*` for all.

    Raises:
        ValueError: it is neither, so that no page would have it.
    """
    try:
        parts = urlsplit(text.rstrip("/"))
        usable = parts.scheme and parts.hostname and not (parts.path or parts.query or parts.fragment or parts.username)
    except ValueError:
        usable = False
    if not usable and text != "*":
        raise ValueError(f"{text[:100]!r} is not an origin such as https://studio.example.org")
    return text


def public_address(url: str) -> str:
    """`url` without a slash at the end.

    Raises:
        ValueError: it is not the http or https address of a server.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
        usable = usable and parts.username is None and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{url[:100]!r} is not an address such as https://music.example.org/songs")
    return url.rstrip("/")
