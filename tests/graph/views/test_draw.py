"""Pictures of graphs as text and as PNG."""

from __future__ import annotations

import io
import re
from pathlib import Path

import matplotlib.image
import pytest

from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.library import shipped
from acestep_flows.graph.views.draw import Arrow, dot, mermaid, picture
from acestep_flows.graph.views.draw_png import BOX_HEIGHT, _apart, _lay_out, png, write_png
from tests.graph.planning.test_layout import DYNAMIC, FOLD, TAKES
from tests.graph.toys import SONG

GRAPHS = {"song": SONG, "fold": FOLD, "each": TAKES, "when": DYNAMIC} | {
    path.stem: path.read_text() for path in sorted(shipped().glob("*.yaml"))
}


def test_parts_and_arrows() -> None:
    found = picture(parse(FOLD))
    assert [(part.id, part.note, part.role) for part in found.parts if part.id != "at.noise"] == [
        ("in.edits", "list", "input"),
        ("at.take", "sing", "stage"),
        ("at.mood", "prompt", "stage"),
        ("at.n", "paint (fold edit)", "stage"),
        ("out.last", "", "output"),
        ("out.reports", "", "output"),
    ]
    assert Arrow("at.take", "at.n", "latents") in found.arrows
    assert Arrow("in.edits", "at.n", "") in found.arrows
    assert Arrow("at.n", "out.reports", "report") in found.arrows


@pytest.mark.parametrize("text", GRAPHS.values(), ids=GRAPHS)
def test_dot_and_mermaid_hold_every_part_and_arrow(text: str) -> None:
    graph = parse(text)
    drawn = picture(graph)
    assert dot(graph).count(" -> ") == mermaid(graph).count("-->") == len(drawn.arrows)
    for part in drawn.parts:
        assert f'"{part.id}" [label="{part.name}' in dot(graph)
        assert f"<b>{part.name}</b>" in mermaid(graph)


def test_text_is_escaped() -> None:
    text = SONG.replace("stage: sound", "stage: 'so\"un]d\\x'")
    assert 'label="track\\nso\\"un]d\\\\x"' in dot(parse(text))
    assert "so#34;un#93;d#92;x" in mermaid(parse(text))


@pytest.mark.parametrize("text", GRAPHS.values(), ids=GRAPHS)
def test_no_box_covers_another_and_no_arrow_crosses_one(text: str) -> None:
    layout = _lay_out(picture(parse(text)))
    for name, (x, y) in layout.at.items():
        for other, (x2, y2) in layout.at.items():
            if name < other and other in layout.widths:
                half = (layout.widths.get(name, layout.columns[name]) + layout.widths[other]) / 2
                reach = BOX_HEIGHT if name in layout.widths else BOX_HEIGHT / 2
                assert abs(x - x2) > half or abs(y - y2) >= reach - 1e-9


@pytest.mark.parametrize("text", GRAPHS.values(), ids=GRAPHS)
def test_the_picture_is_neither_empty_nor_huge(text: str) -> None:
    pixels = matplotlib.image.imread(io.BytesIO(png(parse(text), dpi=50)), format="png")
    assert 50 < pixels.shape[0] < 2000
    assert 100 < pixels.shape[1] < 3000
    assert 0.01 < (pixels[..., :3].min(axis=2) < 0.99).mean() < 0.9


def test_a_graph_with_problems_is_drawn_as_far_as_it_goes(tmp_path: Path) -> None:
    nodes = "  a: {stage: x, with: {p: $b}}\n  b: {stage: x, with: {p: $a, q: $none}}\n"
    circle = f"graph: g\nversion: 1\nnodes:\n{nodes}outputs: {{}}\n"
    write_png(parse(circle), tmp_path / "a.png")
    write_png(parse("- nothing"), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert re.findall(r"p\d --> p\d", mermaid(parse(circle))) == ["p1 --> p0", "p0 --> p1"]


def test_a_long_graph_fits_the_renderer() -> None:
    paints = "".join(f"  n{i + 1}: {{stage: paint, with: {{source: $n{i}.latents}}}}\n" for i in range(300))
    start = SONG.partition("outputs")[0].replace("  take:", "  n0:").replace("$take", "$n0")
    assert len(png(parse(f"{start}{paints}outputs: {{o: $n300.latents, t: $track.audio}}\n"), dpi=40)) > 1000


def test_rows_are_pushed_apart_as_little_as_needed() -> None:
    assert _apart([5.0, 3.0, 1.0], [1, 1, 1]) == [5.0, 3.0, 1.0]
    assert _apart([1.0, 1.0], [1, 1]) == [1.5, 0.5]
    assert _apart([0.0, 4.0], [2, 2]) == [3.0, 1.0]
