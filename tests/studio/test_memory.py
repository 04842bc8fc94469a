"""A hundred takes listened to in a row leave nothing behind in the browser."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from acestep_flows.api.store.schema import ASSETS, NODES, PREVIEWS, RUNS
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import LONG, Door
from tests.api.door import opened as served
from tests.studio.test_listen import RECORD_PLAYERS
from tests.waiting import eventually

TAKES = 20
"""Half of them songs, half of them runs that were ended early, which have a preview."""

ROUNDS = 4
"""How often all takes are listened to after the round that warms caches and compiled code."""

MOST_GROWN = 1_000
"""Bytes of the heap that listening once more to a take may leave, on average. A round may end while code is compiled
or a file is decoded, so the smaller one of the last two rounds counts."""

MOST_PLAYERS = 2
"""Media elements: the player, and the one that draws the waveform."""

MOST_FRAMES = 4
"""Callbacks for each drawn frame while a take plays."""

RECORD = """
window.blobs = new Set();
const [made, revoked] = [URL.createObjectURL, URL.revokeObjectURL];
URL.createObjectURL = (blob) => { const url = made.call(URL, blob); window.blobs.add(url); return url; };
URL.revokeObjectURL = (url) => { window.blobs.delete(url); revoked.call(URL, url); };
window.frames_asked = 0;
const request = window.requestAnimationFrame;
window.requestAnimationFrame = (then) => { window.frames_asked++; return request.call(window, then); };
window.drawn = (then) => request.call(window, then);
"""

LISTEN = """async (ids) => {
    const [main] = players;
    const press = () => document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "k", bubbles: true}));
    const end = performance.now() + 30_000;
    const until = async (isTrue) => {
        while (!isTrue()) {
            if (performance.now() > end) throw new Error(`${location.hash}: ${isTrue}`);
            await new Promise((go) => setTimeout(go, 5));
        }
    };
    for (const id of ids) {
        const before = main.src;
        location.hash = `#/take/${id}`;
        await until(() => document.querySelector(`.chosen[data-run="${id}"] .transport`));
        await until(() => main.src !== before && main.readyState > 1);
        if (main.paused) press();
        await until(() => !main.paused);
        await new Promise((go) => drawn(go));
    }
}"""
"""Choose one take after the other, and hear each."""

FRAMES = """async () => {
    const before = frames_asked;
    for (let i = 0; i < 20; i++) await new Promise((go) => drawn(go));
    return (frames_asked - before) / 20;
}"""


class Heap:
    """What the page keeps once its garbage is collected."""

    def __init__(self, page: Any) -> None:
        self.tools = page.context.new_cdp_session(page)

    def size(self) -> int:
        """Bytes of JavaScript objects."""
        self.tools.send("HeapProfiler.collectGarbage")
        return int(self.tools.send("Runtime.getHeapUsage")["usedSize"])

    def nodes_and_listeners(self) -> tuple[int, int]:
        self.tools.send("HeapProfiler.collectGarbage")
        counts = self.tools.send("Memory.getDOMCounters")
        return counts["nodes"], counts["jsEventListeners"]

    def objects(self) -> int:
        """Objects that something still holds. Unlike bytes, they do not grow by code that is compiled again."""
        return self._count("Object.prototype", "each => true")

    def players(self) -> int:
        """Media elements that something still holds."""
        return self._count("HTMLMediaElement.prototype", "each => { try { return each.paused || true } catch {} }")

    def _count(self, prototype: str, wanted: str) -> int:
        group = {"objectGroup": "count"}
        root = self.tools.send("Runtime.evaluate", {"expression": prototype, **group})["result"]["objectId"]
        found = self.tools.send("Runtime.queryObjects", {"prototypeObjectId": root, **group})["objects"]["objectId"]
        function = f"function () {{ return this.filter({wanted}).length }}"
        asked = {"objectId": found, "functionDeclaration": function, "returnByValue": True}
        count = self.tools.send("Runtime.callFunctionOn", asked)["result"]["value"]
        self.tools.send("Runtime.releaseObjectGroup", group)
        return int(count)


@pytest.fixture
def takes(small: Checkpoint, tmp_path: Path) -> Any:
    """A server with many copies of a song and of a run that was ended early; their ids, one of each in turn."""
    with served(tmp_path, small, workers=2) as door:
        song = door.finished()["id"]
        half = door.submit(inputs={**LONG, "duration": 5}, preview_every=5)["id"]
        eventually(lambda: any(node["preview"] for node in door.client.get(f"/v1/runs/{half}").json()["nodes"]))
        door.client.delete(f"/v1/runs/{half}")
        door.until(half, "cancelled")
        pairs = zip(copies(door, song, TAKES // 2), copies(door, half, TAKES // 2), strict=True)
        yield door, list(itertools.chain.from_iterable(pairs))


def test_memory_is_flat_over_takes_and_previews(takes: tuple[Door, list[str]], opened: Callable[..., Any]) -> None:
    door, ids = takes
    page = opened(door)
    page.add_init_script(RECORD_PLAYERS + RECORD)
    page.reload()
    page.evaluate(f"location.hash = '#/take/{ids[1]}'")
    page.get_by_role("button", name="Loop").click()
    heap = Heap(page)
    page.evaluate(LISTEN, ids)
    sizes, counts, objects = [heap.size()], [heap.nodes_and_listeners()], [heap.objects()]
    for _ in range(ROUNDS):
        page.evaluate(LISTEN, ids)
        sizes.append(heap.size())
        counts.append(heap.nodes_and_listeners())
        objects.append(heap.objects())
    players, blobs = heap.players(), page.evaluate("blobs.size")
    page.evaluate(LISTEN, ids[::2])  # songs, of which each begins while the one before it plays
    frames = page.evaluate(FRAMES)
    page.close()
    listened = TAKES * ROUNDS
    assert min(sizes[-2:]) - sizes[0] < MOST_GROWN * listened, sizes
    assert objects[-1] - objects[0] < listened, objects  # less than one for each
    assert all(last <= first + TAKES for first, last in zip(counts[0], counts[-1], strict=True)), counts
    assert frames <= MOST_FRAMES
    assert players <= MOST_PLAYERS
    assert blobs <= 1


def copies(door: Door, id: str, count: int) -> list[str]:
    """Runs like one that has ended, with its nodes, files and preview."""
    ids = [f"run-{int(id[4:], 16) - n * 10**20:026x}" for n in range(1, count + 1)]
    with door.home.database.write() as connection:
        for table, own in ((RUNS, "id"), (NODES, "run"), (ASSETS, "run"), (PREVIEWS, "run")):
            rows = [dict(row) for row in connection.execute(select(table).where(table.c[own] == id)).mappings()]
            renamed = [row | {own: one} for one in ids for row in rows]
            if table is ASSETS:
                renamed = [row | {"id": f"{row['id'][:-10]}{n:010x}"} for n, row in enumerate(renamed)]
            if renamed:
                connection.execute(insert(table), renamed)
    return ids
