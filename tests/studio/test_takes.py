"""The takes: a tree that outlives everything, runs that are followed without a click, and what one does with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select

from acestep_flows.api.store.schema import LABELS, PREVIEWS, RUNS
from acestep_flows.client import Client, Run
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import LONG, Door
from tests.api.door import opened as served
from tests.served.server import Server

playwright = pytest.importorskip("playwright.sync_api")

WORDS: Mapping[str, Any] = {"tags": "folk, guitar", "lyrics": "[verse]\nThe last bus home", "steps": 4, "seed": 7}
MANY, MOST_DRAWN = 1000, 60
SCROLL_ON = """async () => {
    const frame = () => new Promise(requestAnimationFrame);
    await frame();
    await frame();
    const pane = document.querySelector(".pane.tree");
    const atEnd = !document.querySelector(".older") && pane.scrollTop + pane.clientHeight >= pane.scrollHeight - 2;
    const box = pane.getBoundingClientRect();
    const hit = document.elementFromPoint(box.x + box.width / 3, box.y + box.height / 2);
    const titles = [...document.querySelectorAll("li.branch .title")].map((title) => title.textContent);
    pane.scrollBy(0, 600);
    return [titles, atEnd, hit.closest("li, .older") ? "" : hit.outerHTML.slice(0, 200)];
}"""
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def door(small: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server in this process, which starts at once."""
    with served(tmp_path_factory.mktemp("door"), small, workers=2) as door:
        yield door


def take(page: Any, title: str) -> Any:
    """The row of a take, by its title and what it changed."""
    return page.get_by_role("listitem").filter(has=page.get_by_role("button", name=re.compile(f"^{re.escape(title)}")))


def done(client: Client, graph: str, inputs: Mapping[str, Any], **options: Any) -> Run:
    run = client.wait(client.submit(graph, dict(inputs), **options).id)
    assert run.state == "succeeded", run.content
    return run


def chain(client: Client) -> list[Run]:
    """A song and three edits, each made from the latents of the one before."""
    song = done(client, "text2music", {**WORDS, "duration": 2}, labels={"title": "Last bus"})
    repainted = done(
        client, "repaint", {**WORDS, "source": song.outputs["latents"], "span": [0.5, 1], "retake_seed": 1}
    )
    new = {"new_tags": WORDS["tags"], "new_lyrics": "[verse]\nThe first bus out"}
    edited = done(client, "edit", {**WORDS, **new, "source": repainted.outputs["latents"], "seed": 2})
    extended = done(client, "extend", {**WORDS, "source": edited.outputs["latents"], "left": 0, "right": 1})
    return [song, repainted, edited, extended]


def test_a_chain_outlives_a_killed_server_and_the_page_follows_by_itself(
    server: Server, opened: Callable[..., Any], watch: Any
) -> None:
    watch.allowed += ["net::ERR_", "503"]
    page = opened(server)
    with server.client() as client:
        runs = chain(client)
        for run in runs[1:]:
            stages = {node["stage"] for node in client.status(run.id).content["nodes"]}
            assert "encode_audio" not in stages, "a source is passed on as latents"
        titles = ["Last bus text2music", "Last bus repaint", "Last bus edit", "Last bus extend"]
        for level, title in enumerate(titles, 1):
            take(page, title).wait_for()
            assert take(page, title).get_attribute("aria-level") == str(level)
        slow = client.submit("text2music", {**WORDS, "tags": "slow", "duration": 30, "steps": 100})
        take(page, "slow").get_by_text(re.compile("in work [1-9]")).wait_for()
    server.kill()
    page.get_by_role("alert").get_by_text("cannot be reached").wait_for()
    take(page, "Last bus edit").get_by_role("button").first.click()  # the page stays usable
    server.start()
    page.get_by_role("alert").get_by_text("cannot be reached").wait_for(state="detached")
    with server.client() as client:
        assert client.wait(slow.id).state == "succeeded"
    take(page, "slow").get_by_text("in work").wait_for(state="detached")
    page.reload()
    for level, title in enumerate(titles, 1):
        take(page, title).wait_for()
        assert take(page, title).get_attribute("aria-level") == str(level)


def test_a_run_is_shown_node_by_node_and_ends_at_a_step(door: Door, opened: Callable[..., Any]) -> None:
    run = door.submit(inputs=LONG, labels={"title": "too long"})
    page = opened(door, f"#/take/{run['id']}")
    progress = page.get_by_role("region", name="The take").get_by_role("region", name="Progress")
    progress.get_by_text(re.compile(r"^step \d+ of \d+$")).wait_for()
    progress.get_by_role("button", name="Cancel").click()
    take(page, "too long").get_by_text("cancelled").wait_for()
    assert door.until(run["id"])["state"] == "cancelled"


def test_a_cancelled_take_keeps_its_last_preview_and_says_when_it_is_gone(
    door: Door, opened: Callable[..., Any], watch: Any
) -> None:
    run = door.submit(inputs={**LONG, "duration": 10}, labels={"title": "half"}, preview_every=5)
    page = opened(door, f"#/take/{run['id']}")
    page.get_by_text("Preview: as it sounds after step").wait_for()
    page.get_by_role("region", name="Progress").first.get_by_role("button", name="Cancel").click()
    door.until(run["id"], "cancelled")
    page.reload()
    page.get_by_text("Preview: as it sounds after step").wait_for()
    page.get_by_text("Cancelled before it was done.", exact=True).wait_for()
    page.get_by_role("button", name="Play", exact=True).wait_for()
    with door.home.database.write() as connection:
        connection.execute(delete(PREVIEWS).where(PREVIEWS.c.run == run["id"]))
    page.reload()
    page.get_by_text("There is no preview of it, or none any more").wait_for()


def test_where_streams_are_refused_the_server_is_asked(door: Door, opened: Callable[..., Any], watch: Any) -> None:
    watch.allowed += ["ERR_FAILED"]
    page = opened(door)
    page.route("**/v1/events*", lambda route: route.abort())
    page.reload()
    door.submit(labels={"title": "quietly"})
    take(page, "quietly").wait_for()
    take(page, "quietly").get_by_text("in work").or_(take(page, "quietly").get_by_text("waits")).wait_for(
        state="detached"
    )


def test_titles_notes_and_stars_are_kept_by_the_server(door: Door, opened: Callable[..., Any]) -> None:
    run = door.finished(labels={"title": "draft"})
    page = opened(door, f"#/take/{run['id']}")
    page.get_by_label("Title", exact=True).fill(HOSTILE)
    page.get_by_label("Title", exact=True).press("Enter")
    take(page, HOSTILE).wait_for()
    page.get_by_label("Note", exact=True).fill("drums too loud")
    page.get_by_label("Note", exact=True).blur()
    page.get_by_role("button", name=f"Star {HOSTILE}").click()
    page.get_by_role("button", name=f"Star {HOSTILE}", pressed=True).wait_for()
    page.reload()
    playwright.expect(page.get_by_label("Note", exact=True)).to_have_value("drums too loud")
    labels = door.client.get(run["links"]["self"]).json()["labels"]
    assert labels == {"title": HOSTILE, "note": "drums too loud", "star": "1"}


def test_a_take_that_is_labelled_as_its_own_parent_is_shown(door: Door, opened: Callable[..., Any]) -> None:
    first, second = (door.finished(labels={"title": title}) for title in ("hen", "egg"))
    for run, parent in ((first, second), (second, first)):
        door.client.patch(run["links"]["self"], json={"labels": {"parent": parent["id"]}})
    page = opened(door, f"#/take/{first['id']}")
    assert [take(page, title).get_attribute("aria-level") for title in ("hen", "egg")] == ["1", "2"]


def test_takes_are_found_hidden_and_deleted(door: Door, opened: Callable[..., Any]) -> None:
    runs = [
        door.finished(inputs={"tags": tags, "lyrics": words, "duration": 1, "steps": 2})
        for tags, words in (("tango", "over the harbour"), ("waltz", "under the bridge"))
    ]
    page = opened(door, f"#/take/{runs[0]['id']}")
    page.get_by_role("searchbox").fill("HARBOUR")
    take(page, "waltz").wait_for(state="detached")
    take(page, "tango").get_by_role("button", name="Hide").click()
    take(page, "tango").wait_for(state="detached")
    page.get_by_role("button", name="Hidden too").click()
    take(page, "tango").get_by_role("button", name="Delete").click()
    page.get_by_role("status").get_by_role("button", name="Delete").click()
    take(page, "tango").wait_for(state="detached")
    assert door.client.get(runs[0]["links"]["self"]).status_code == 404
    assert door.client.get(runs[1]["links"]["self"]).status_code == 200


def test_a_thousand_takes_come_page_by_page_as_one_scrolls(
    small: Checkpoint, tmp_path: Path, opened: Callable[..., Any]
) -> None:
    """Only rows near the visible ones are drawn, however many there are, and each one is seen on the way."""
    with served(tmp_path, small, executing=False) as door:
        multiply(door, door.submit(inputs=WORDS)["id"])
        page = opened(door)
        page.locator("li.branch").nth(MOST_DRAWN // 3).wait_for(state="attached")
        titles: set[str] = set()
        for _ in range(MANY):
            drawn, at_end, blank = page.evaluate(SCROLL_ON)
            assert len(drawn) <= MOST_DRAWN
            assert blank == ""
            titles.update(drawn)
            if at_end:
                break
        assert len(titles) == MANY + 1
        page.keyboard.press("n")  # the newest is chosen, and comes into view
        page.locator("li.branch.open").wait_for()
        assert page.locator("li.branch.open").evaluate("row => row.getBoundingClientRect().top") > 0
        page.close()


def multiply(door: Door, id: str) -> None:
    """A thousand cancelled runs, older than one that is there and like it."""
    door.home.runs.cancel(id)
    with door.home.database.write() as connection:
        row = dict(connection.execute(select(RUNS).where(RUNS.c.id == id)).mappings().one())
        older = [f"run-{int(id[4:], 16) - n * 10**20:026x}" for n in range(1, MANY + 1)]
        times = [row["created_at"] - 600 * n for n in range(1, MANY + 1)]
        copies = [row | {"id": one, "created_at": at} for one, at in zip(older, times, strict=True)]
        connection.execute(insert(RUNS), copies)
        titles = [{"run": one, "name": "title", "value": f"take {n}"} for n, one in enumerate(older)]
        connection.execute(insert(LABELS), titles)
