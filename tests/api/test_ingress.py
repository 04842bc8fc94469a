"""The deployment in front, before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

from acestep_flows.api.ingress import IngressOptions, ingress
from acestep_flows.errors import InputError
from acestep_flows.runtime.serving.pool import Pool


def test_its_options_are_those_of_the_command(tmp_path: Path) -> None:
    given = {"origins": ["https://studio.example.org"], "database": "postgresql://somewhere/runs"}
    made = ingress(Pool.read("local"), tmp_path, {}, given)
    *_, options = made._bound_deployment.init_args
    assert options == IngressOptions(origins=("https://studio.example.org",), database="postgresql://somewhere/runs")


@pytest.mark.parametrize(
    ("home", "options", "said"),
    [
        (None, {}, "no home folder"),
        (Path("/data"), {"colour": "red"}, "colour: Extra inputs"),
        (Path("/data"), {"origins": "everywhere"}, "origins: Input should be a valid tuple"),
    ],
)
def test_what_is_refused(home: Path | None, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ingress(Pool.read("local"), home, {}, options)
