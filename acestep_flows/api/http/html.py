"""Small HTML pages without scripts: elements with escaped text, one style sheet, and headers that forbid all else."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from starlette.responses import Response

FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1f4e5f"/>'
    '<path d="M6 14v4M11 10v12M16 6v20M21 11v10M26 14v4" stroke="#f4f1de" stroke-width="2.6" stroke-linecap="round"/>'
    "</svg>"
)
"""The icon of the pages: bars of a waveform, drawn for this project."""

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 0 auto; padding: 1rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; } h2 { margin-top: 3rem; border-bottom: 1px solid #8886; } h3 { margin: 2.2rem 0 .3rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; } a { color: #2a7b97; }
pre { background: #8882; padding: .6rem .8rem; border-radius: 6px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; }
td, th { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #8883; }
th { font-weight: 600; } td:first-child { white-space: nowrap; } nav ul { columns: 2; padding-left: 1.2rem; }
.method { display: inline-block; min-width: 3.6rem; color: #2a7b97; font-weight: 600; }
@media (max-width: 40rem) { nav ul { columns: 1; } td:first-child { white-space: normal; } }
"""

_STYLE_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Content-Security-Policy of the pages: no scripts, and nothing of other origins."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *content: str, **attributes: str) -> Markup:
    """An HTML element. Text is escaped unless it is Markup. `class_` is the attribute `class`."""
    names = "".join(f' {name.rstrip("_")}="{escape(value)}"' for name, value in attributes.items())
    return Markup(f"<{tag}{names}>{joined(*content)}</{tag}>")


def joined(*content: str) -> Markup:
    """Pieces of content, one after the other. Text is escaped unless it is Markup."""
    return Markup("".join(piece if isinstance(piece, Markup) else escape(piece, quote=False) for piece in content))


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Markup:
    """A table; nothing without rows."""
    if not rows:
        return Markup("")
    cells = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    return element("table", element("tr", *(element("th", title) for title in head)), *cells)


def page(title: str, base: str, *content: str) -> Response:
    """The response with a whole page.

    Args:
        base: prefix of paths, where a proxy mounts the service.
    """
    head = (
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width">'),
        Markup(f'<link rel="icon" href="{escape(base)}/favicon.ico">'),
        element("title", title),
        element("style", Markup(STYLE)),
    )
    text = "<!doctype html>" + element("html", element("head", *head), element("body", *content), lang="en")
    return Response(text, media_type="text/html", headers={"Content-Security-Policy": POLICY, "Vary": "Accept"})
