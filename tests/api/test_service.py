"""What the routes need."""

from __future__ import annotations

from pathlib import Path

import pytest

from acestep_flows.api.service import Service
from acestep_flows.errors import GraphError, NotFound
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import SHORT, Door, opened

MINE = "graph: mine\nversion: 1\nnodes:\n  p: {stage: encode_prompt, with: {tags: x}}\noutputs: {prompt: $p}\n"


def test_what_a_run_will_take_is_known_from_earlier_ones(door: Door) -> None:
    inputs = dict(SHORT) | {"steps": 3}
    plan = lay_out(door.service.scope("text2music"), inputs)
    assert door.service.expected_seconds(plan) is None
    door.finished(inputs=inputs)
    expected = door.service.expected_seconds(plan)
    assert expected is not None
    assert 0 < expected < 60
    assert Service(door.home).expected_seconds(plan) is None


def test_graphs_of_the_operators_own_hide_shipped_ones(strict: Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "graphs"
    folder.mkdir()
    (folder / "mine.yaml").write_text(MINE)
    (folder / "broken.yaml").write_text("graph: broken\nversion: 1\nnodes: {}\noutputs: {x: $y}\n")
    with opened(tmp_path / "home", strict, folders=[folder], executing=False) as door:
        assert {"mine", "text2music"} <= door.service.library.names().keys()
        assert door.service.scope("mine") is door.service.scope("mine")
        with pytest.raises(GraphError):
            door.service.scope("broken")
        response = door.client.get("/v1/graphs/broken")
        assert response.status_code == 422
        assert response.json()["error"]["problems"][0]["file"] == "broken.yaml"
        assert str(tmp_path) not in response.text
        assert door.client.get("/v1/graphs").status_code == 200


@pytest.mark.parametrize("name", ["./mine", "mine.yaml", "../graphs/mine", "/etc/passwd", "", "a\0b", "a b"])
def test_a_service_opens_no_path(door: Door, name: str) -> None:
    with pytest.raises(NotFound):
        door.service.graph(name)
