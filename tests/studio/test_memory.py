"""A hundred takes listened to in a row leave nothing behind in the browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from acestep_flows.api.store.schema import ASSETS, NODES, PREVIEWS, RUNS
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import LONG, Door
from tests.api.door import opened as served
from tests.studio.conftest import until
from tests.studio.test_listen import RECORD_PLAYERS

WARM, LISTENED = 10, 100
MOST_GROWN = 100_000
"""Bytes by which the heap may have grown after the second round over the same takes."""

MOST_KEPT = 30_000
"""Bytes that a take that was listened to may leave: what the server said of it, and its waveform."""

RECORD_BLOBS = """
window.blobs = new Set();
const [made, revoked] = [URL.createObjectURL, URL.revokeObjectURL];
URL.createObjectURL = (blob) => { const url = made.call(URL, blob); window.blobs.add(url); return url; };
URL.revokeObjectURL = (url) => { window.blobs.delete(url); revoked.call(URL, url); };
"""


def test_memory_is_flat_over_takes_and_previews(small: Checkpoint, tmp_path: Path, opened: Callable[..., Any]) -> None:
    with served(tmp_path, small) as door:
        song = door.finished()["id"]
        half = door.submit(inputs={**LONG, "duration": 5}, preview_every=5)["id"]
        while not any(node["preview"] for node in door.client.get(f"/v1/runs/{half}").json()["nodes"]):
            pass
        door.client.delete(f"/v1/runs/{half}")
        door.until(half, "cancelled")
        songs, halves = copies(door, song, (WARM + LISTENED) // 2), copies(door, half, (WARM + LISTENED) // 2)
        page = opened(door)
        page.add_init_script(RECORD_PLAYERS + RECORD_BLOBS)
        page.reload()
        tools = page.context.new_cdp_session(page)

        def heap() -> int:
            tools.send("HeapProfiler.collectGarbage")
            return int(tools.send("Runtime.getHeapUsage")["usedSize"])

        def listen(ids: list[str]) -> None:
            for id in ids:
                page.evaluate(f"location.hash = '#/take/{id}'")
                page.locator(f".chosen[data-run='{id}'] .transport").wait_for()
                until(page, "players[0].readyState > 1")
                if page.evaluate("players[0].paused"):
                    page.keyboard.press("k")
                until(page, "!players[0].paused")

        takes = [id for pair in zip(songs, halves, strict=True) for id in pair]
        page.evaluate(f"location.hash = '#/take/{takes[0]}'")
        page.get_by_role("button", name="Loop").click()
        listen(takes[:WARM])
        sizes = [heap()]
        for _ in range(2):
            listen(takes[WARM:])
            sizes.append(heap())
        assert page.evaluate("players.length") <= 2
        assert page.evaluate("blobs.size") <= 1
        assert sizes[2] - sizes[1] < MOST_GROWN, sizes
        assert sizes[1] - sizes[0] < MOST_KEPT * LISTENED, sizes
        page.close()


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
