"""Routes for the files of runs: outputs and previews."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from acestep_flows.api.http.dependencies import TheBuilder, TheCaller, TheService, in_thread
from acestep_flows.api.http.ranges import Disposition, file_response
from acestep_flows.api.http.response_schemas import OutputList
from acestep_flows.api.http.routes.declarations import (
    FILE,
    NO_RUN,
    DispositionQuery,
    FormatQuery,
    NodeId,
    OutputName,
    Responses,
    RunId,
    binary,
)
from acestep_flows.api.http.stored_file import asset_response
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import OutputRecord, PreviewRecord, RunRecord
from acestep_flows.errors import NotFound
from acestep_flows.graph.language.wording import clip, unlike
from acestep_flows.wording.missing_output import no_output

router = APIRouter(prefix="/v1", tags=["runs"])

PREVIEW: Responses = {
    200: {
        **binary("audio/wav"),
        "description": "The file.",
        "headers": {"X-Step": {"description": "The step after which it was taken.", "schema": {"type": "integer"}}},
    },
    206: {**binary("audio/wav"), "description": "The requested range of the file."},
    **{status: FILE[status] for status in (304, 416)},
}


@router.get("/runs/{id}/outputs", responses=NO_RUN)
async def list_outputs(id: RunId, service: TheService, caller: TheCaller, builder: TheBuilder) -> OutputList:
    """The outputs of a run."""
    return builder.outputs(await in_thread(service.home.runs.get, id, caller.visible_owner))


@router.get("/runs/{id}/outputs/{name}", response_class=Response, responses=NO_RUN | FILE)
async def fetch_output(
    id: RunId,
    name: OutputName,
    request: Request,
    service: TheService,
    caller: TheCaller,
    format: FormatQuery = None,
    disposition: DispositionQuery = "attachment",
) -> Response:
    """An output file of a run, also in another audio format. Accepts range requests; HEAD returns its size."""
    output = find_output(await in_thread(service.home.runs.get, id, caller.visible_owner), name)
    if format is None or output.expired:
        return await output_response(request, service, output, disposition)
    asset = await in_thread(service.home.assets.get, output.asset, caller.visible_owner)
    return await asset_response(request, service, caller.owner, asset, format, disposition)


router.add_api_route("/runs/{id}/outputs/{name}", fetch_output, methods=["HEAD"], include_in_schema=False)


@router.get("/runs/{id}/previews/{node:path}", response_class=Response, responses=NO_RUN | PREVIEW)
async def fetch_preview(id: RunId, node: NodeId, request: Request, service: TheService, caller: TheCaller) -> Response:
    """The latest preview of a node: how the song would sound if it ended now. Each preview replaces the one before."""
    record = await in_thread(service.home.runs.get, id, caller.visible_owner)
    preview = await in_thread(_find_preview, service, record, node)
    while True:
        try:
            return await _preview_response(request, service, preview)
        except NotFound:  # the next preview has replaced this one, or all were removed
            before, preview = preview, await in_thread(_find_preview, service, record, node)
            if preview == before:
                raise


router.add_api_route("/runs/{id}/previews/{node:path}", fetch_preview, methods=["HEAD"], include_in_schema=False)


def find_output(record: RunRecord, name: str) -> OutputRecord:
    """One output of a run.

    Raises:
        NotFound: the run has no such output.
    """
    if name not in record.outputs:
        reason = str((record.error or {}).get("message", ""))
        raise no_output(record.id, name, record.outputs, record.state, reason)
    return record.outputs[name]


def _find_preview(service: Service, record: RunRecord, node: str) -> PreviewRecord:
    """The latest preview of a node of a run. Blocks.

    Raises:
        NotFound: the run has no such node, makes no previews, or has none of this node now.
    """
    try:
        return service.home.previews.get(record.id, node)
    except NotFound:
        nodes = service.home.runs.nodes(record.id)
        names = [one.id for one in nodes]
        if names and node not in names:
            raise NotFound(unlike("node", node, names), allowed=names, field="node") from None
        if not record.preview_every:
            what = f"no preview of node {clip(node)!r}: the run was submitted without preview_every"
            raise NotFound(what, field="node") from None
        sampling = [one.id for one in nodes if one.steps]
        what = f"no preview of node {clip(node)!r}: there is none yet, or it was removed; the run is {record.state}"
        if sampling and node not in sampling:
            what = f"no preview of node {clip(node)!r}: it takes no steps; nodes that do: {', '.join(sampling)}"
        raise NotFound(what, allowed=sampling or names or "", field="node") from None


async def output_response(
    request: Request, service: Service, output: OutputRecord, disposition: Disposition = "attachment"
) -> Response:
    """The response with the file of an output.

    Raises:
        NotFound: the file was removed.
    """
    if output.expired:
        raise NotFound(f"output {output.name!r} has expired; its file was removed", field="name")
    return await file_response(
        request,
        service.home.artifacts,
        digest=output.digest,
        size=output.bytes,
        content_type=output.content_type,
        file_name=output.file_name,
        disposition=disposition,
    )


async def _preview_response(request: Request, service: Service, preview: PreviewRecord) -> Response:
    response = await file_response(
        request,
        service.home.artifacts,
        digest=preview.digest,
        size=preview.bytes,
        content_type="audio/wav",
        file_name=f"{preview.run}-preview.wav",
    )
    response.headers.update({"Cache-Control": "private, no-cache", "X-Step": str(preview.step)})
    return response
