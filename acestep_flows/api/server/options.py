"""The options of the two ways to start a server: `acestep-flows serve`, and the ingress of a Serve application."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from acestep_flows.api.options import public_address, web_origin
from acestep_flows.api.store.signed_links import check_signing
from acestep_flows.compat.spoken import OPTION, read_spoken
from acestep_flows.errors import InputError
from acestep_flows.runtime.serving.pool import AUTO
from acestep_flows.runtime.serving.pool_process import Amounts
from acestep_flows.wording.log_lines import LogFormat

COVERS_LOOPBACK = ("127.0.0.1", "localhost", "0.0.0.0")


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """The options of `acestep-flows serve`.

    Attributes:
        host: address to listen on.
        port: 0 takes a free port.
        home: folder for everything that outlives the process.
        pool: path of a pool file, or the name of a shipped one.
        ray: address of a Ray cluster to join; None starts a Ray of the server's own.
        rehearse: whether the pool is tried on the processor, with GPUs that are not there.
        folders: folders with the operator's own graphs.
        inline_graphs: whether callers may run graphs of their own.
        origins: web origins that browsers may call from.
        database: URL of the run table; None is that of the environment, else a SQLite file in `home`.
        artifacts: URL of the artifact store; None is that of the environment, else a folder in `home`.
        private_webhooks: whether webhooks may go to private addresses.
        private_fetches: whether audio may be fetched from private addresses.
        direct_links: whether links to files lead straight into an S3 store.
        speak: families of other servers' interfaces, as `NAME` or `NAME=PORT`.
        drain: seconds that running runs may continue after the server is asked to stop. The rest return to the queue.
            HTTP requests are answered until then, but no run is accepted.
        public_url: address of the server for others, such as behind a proxy.
        studio: whether the page is served.
        checkpoint: weights as `--checkpoint` names them, in place of the pool's.
        device: number of the GPU to use; None leaves the choice to the pool.
        dtype: precision of the networks, in place of the pool's.

    Raises:
        InputError: the public URL is not the address of a server, an origin is none, a family does not exist or has
            the port of the server, a folder does not exist, links cannot lead into the artifact store, or a cluster or
            a rehearsal is asked for without a pool.
        MissingPackage: the extra `s3` is needed and not installed.
    """

    host: str
    port: int
    home: Path
    pool: str
    ray: str | None = None
    rehearse: bool = False
    folders: tuple[Path, ...] = ()
    inline_graphs: bool = False
    origins: tuple[str, ...] = ()
    database: str | None = None
    artifacts: str | None = None
    private_webhooks: bool = False
    private_fetches: bool = False
    direct_links: bool = False
    speak: tuple[str, ...] = ()
    drain: float = 5.0
    public_url: str | None = None
    studio: bool = True
    checkpoint: str | None = None
    device: int | None = None
    dtype: Literal["float32", "bfloat16"] | None = None

    def __post_init__(self) -> None:
        try:
            if self.public_url is not None:
                public_address(self.public_url)
        except ValueError as error:
            allowed = "an http or https address, with a path where a proxy has one"
            raise InputError(str(error), where="--public-url", allowed=allowed) from None
        try:
            for origin in self.origins:
                web_origin(origin)
        except ValueError as error:
            allowed = "scheme, host and port of a page without its path; '*' for every page"
            raise InputError(str(error), where="--origin", allowed=allowed) from None
        ports = {one.port for one in read_spoken(self.speak)}
        if self.port and self.port in ports and self.host in COVERS_LOOPBACK:
            allowed = "another port; 0 takes a free one"
            raise InputError(f"{self.port} is the port of --port", where=OPTION, allowed=allowed)
        if self.direct_links:
            check_signing(self.artifacts, "--direct-links", "with --artifacts s3://BUCKET/FOLDER")
        if self.rehearse and self.ray is not None:
            raise InputError("a cluster has the GPUs that it has", where="--rehearse", allowed="without --ray")
        if self.pool == AUTO and (self.rehearse or self.ray is not None):
            allowed = f"a file or a shipped pool, with {'--rehearse' if self.rehearse else '--ray'}"
            raise InputError(f"{AUTO} is the pool of this machine", where="--pool", allowed=allowed)
        for folder in self.folders:
            if not folder.is_dir():
                raise InputError(f"{folder}: no such folder", where="--graphs", allowed="a folder with graphs")


class IngressOptions(BaseModel):
    """`args.options` of a Serve application: the options of `acestep-flows serve` that apply to the ingress."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replicas: int = Field(1, ge=1, le=100, description="Replicas of the ingress; several need a PostgreSQL database.")
    resources: Amounts = Field(
        {}, description="Resources of your own that each replica reserves, to pin it to machines."
    )
    folders: tuple[Path, ...] = Field((), description="Folders with the operator's own graphs.")
    inline_graphs: bool = Field(False, description="Whether callers may run graphs of their own.")
    origins: tuple[str, ...] = Field((), description="Web origins that browsers may call from; '*' for all.")
    database: str | None = Field(
        None, description="URL of the run table; absent: ACESTEP_FLOWS_DATABASE, else SQLite in the home folder."
    )
    artifacts: str | None = Field(
        None, description="URL of the artifact store; absent: ACESTEP_FLOWS_ARTIFACTS, else in the home folder."
    )
    private_webhooks: bool = Field(False, description="Whether webhooks may go to private addresses.")
    private_fetches: bool = Field(False, description="Whether audio may be fetched from private addresses.")
    direct_links: bool = Field(False, description="Whether links to files lead straight into an S3 store.")
    speak: tuple[str, ...] = Field((), description="Families of other servers' interfaces that are spoken, by name.")
    studio: bool = Field(True, description="Whether the page is served at /studio/.")
    public_url: str | None = Field(None, description="Address of the server for others, such as behind a proxy.")
    log_format: LogFormat = Field("text", description="Format of log records: text, or JSON objects on a line.")
    drain: float = Field(
        5.0,
        ge=0,
        le=3600,
        description="Seconds that the runs of a replica may continue after it is asked to stop. The rest return to the "
        "queue. Serve waits for open requests first, so event streams that stay open use this time up.",
    )

    @field_validator("origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(web_origin, origins))

    @field_validator("speak")
    @classmethod
    def _speak(cls, speak: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(one.name for one in read_spoken(speak, ports=False))
        except InputError as error:
            raise ValueError(f"{error.what} (allowed: {error.allowed})") from None

    @field_validator("public_url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        return None if url is None else public_address(url)

    @model_validator(mode="after")
    def _links(self) -> Self:
        if self.direct_links:
            try:
                check_signing(self.artifacts, "direct_links", "with artifacts at s3://bucket/folder")
            except InputError as error:
                raise ValueError(f"{error.what} (allowed: {error.allowed})") from None
        return self
