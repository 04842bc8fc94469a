"""The page for all eyes: no violation that axe-core knows, and pictures of each tab."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.client import Run
from tests.served.server import Server
from tests.studio.conftest import Watch

AXE = Path(__file__).parents[2] / "studio" / "node_modules" / "axe-core" / "axe.min.js"
FOLDER = os.environ.get("ACESTEP_STUDIO_SCREENSHOTS")
"""Where screenshots go. Without it none are made."""

TABS = ("text2music", "retake", "repaint", "edit", "extend", "more")
WIDTHS = {390: "light", 820: "dark", 1440: "light"}
CHECKED = {390: ("extend",), 820: ("repaint",), 1440: ("text2music", "edit")}
"""Tabs that are checked at each width, since a check takes seconds."""

ONE_PANE = 900
"""Below this width the page shows one pane at a time."""

CHECK = "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"


@pytest.fixture(scope="module")
def take(the_server: Server) -> Run:
    """An extension of a song, which has most of what a take can show."""
    with the_server.client() as client:
        song = client.wait(the_server.song(client, seed=5).id)
        source = {"source": song.outputs["latents"].asset, "sound": song.outputs["audio"].asset}
        inputs = {"tags": "jazz", "left": 1, "right": 1, "seed": 5, "steps": 4}
        return client.wait(client.submit("extend", source | inputs).id)


def panes(page: Any, width: int) -> list[str]:
    return ["form", "take", "tree"] if width < ONE_PANE else [""]


def show_pane(page: Any, pane: str) -> None:
    if pane:
        index = ("form", "take", "tree").index(pane)
        page.get_by_role("navigation", name="Parts of the window").get_by_role("button").nth(index).click()


@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing(opened: Callable[..., Any], server: Server, take: Run, width: int, watch: Watch) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not here: run `npm ci` in studio/")
    page = opened(server, f"#/take/{take.id}", width=width, color_scheme=WIDTHS[width])
    watch.allowed.append("Applying inline style")  # axe-core tries to
    page.evaluate(AXE.read_text())
    found = []
    for tab in CHECKED[width]:
        page.evaluate(f"location.hash = '#/take/{take.id}?tab={tab}'")
        for pane in panes(page, width):
            show_pane(page, pane)
            page.wait_for_timeout(300)
            for violation in page.evaluate(CHECK)["violations"]:
                found += [(tab, pane, violation["id"], node["html"][:200]) for node in violation["nodes"]]
    assert found == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.skipif(FOLDER is None, reason="ACESTEP_STUDIO_SCREENSHOTS names no folder")
@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_pictures_of_each_tab(opened: Callable[..., Any], server: Server, take: Run, width: int, colours: str) -> None:
    folder = Path(FOLDER or "")
    folder.mkdir(parents=True, exist_ok=True)
    page = opened(server, f"#/take/{take.id}", width=width, color_scheme=colours)
    for tab in TABS:
        page.evaluate(f"location.hash = '#/take/{take.id}?tab={tab}'")
        for pane in panes(page, width):
            show_pane(page, pane)
            if pane in ("", "take"):
                page.get_by_role("img", name="Waveform").wait_for()
            page.wait_for_timeout(400)
            page.screenshot(path=folder / f"{width}-{colours}-{tab}{'-' if pane else ''}{pane}.png")
