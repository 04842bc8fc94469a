"""Routes for people who open the server in a browser, and for programs that ask what it is. They need no API key."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from acestep_flows import __version__
from acestep_flows.api.http.dependencies import TheBuilder, TheService
from acestep_flows.api.http.html import FAVICON, element, page, table
from acestep_flows.api.http.reference_page import reference
from acestep_flows.api.http.response_schemas import Welcome
from acestep_flows.api.options import COMPAT

router = APIRouter(tags=["health"])

SUMMARY = "Text to music, and edits of music, as graphs of stages."


@router.get(
    "/",
    response_model=Welcome,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}, "description": "What this server is."}},
)
async def welcome(request: Request, service: TheService, builder: TheBuilder) -> Response:
    """What this server is, and where to begin: JSON for programs, a page for browsers. Needs no API key."""
    answer = Welcome(
        version=__version__,
        summary=SUMMARY,
        documentation=f"{builder.base}/docs",
        openapi=f"{builder.base}/openapi.json",
        graphs=f"{builder.base}/v1/graphs",
        runs=f"{builder.base}/v1/runs",
        assets=f"{builder.base}/v1/assets",
        health=f"{builder.base}/readyz",
        studio=f"{builder.base}/studio/" if service.options.studio else None,
        speaks={name: f"{builder.base}{COMPAT}{name}" for name in service.options.speak},
    )
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse(answer.model_dump(), headers={"Vary": "Accept"})
    links: list[tuple[str, ...]] = [
        ("reference of the HTTP interface", element("a", answer.documentation, href=answer.documentation)),
        ("the same for programs", element("a", answer.openapi, href=answer.openapi)),
        ("graphs that can be run", element("a", answer.graphs, href=answer.graphs)),
        ("the latest runs", element("a", answer.runs, href=answer.runs)),
        ("whether it takes runs", element("a", answer.health, href=answer.health)),
    ]
    links += [(f"the interface {name}, for clients of another server", path) for name, path in answer.speaks.items()]
    if answer.studio is not None:
        links.insert(
            0, ("the studio, where people make and edit songs", element("a", answer.studio, href=answer.studio))
        )
    return page(answer.name, builder.base, element("h1", answer.name), element("p", SUMMARY), table(("", ""), links))


router.add_api_route("/", welcome, methods=["HEAD"], include_in_schema=False)


@router.get("/docs", include_in_schema=False)
async def show_reference(request: Request, builder: TheBuilder) -> Response:
    """The reference of the interface, for people."""
    origin = str(request.base_url).rstrip("/")
    return page("Reference of acestep_flows", builder.base, reference(request.app.openapi(), origin, builder.base))


@router.get("/redoc", include_in_schema=False)
async def redirect_reference(builder: TheBuilder) -> Response:
    """The earlier second address of the reference."""
    return RedirectResponse(f"{builder.base}/docs")


@router.get("/favicon.ico", include_in_schema=False)
async def favicon() -> Response:
    """The icon of the pages."""
    return Response(FAVICON, media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})
