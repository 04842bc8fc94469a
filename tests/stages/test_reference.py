"""The page about stages is what the stages declare."""

from __future__ import annotations

from pathlib import Path

from acestep_flows.stages.reference import markdown, summary
from acestep_flows.stages.registry import stages

PAGE = Path(__file__).parents[2] / "docs" / "stages.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown(stages()), "acestep-flows stages --markdown > docs/stages.md"


def test_every_port_and_parameter_is_on_it() -> None:
    page = markdown(stages())
    for stage in stages().values():
        section = page.partition(f"\n## {stage.name}\n")[2].partition("\n## ")[0]
        assert summary(stage) in section
        for port in (*stage.inputs().values(), *stage.outputs().values()):
            assert f"| `{port.name}` | " in section


def test_limits_choices_and_defaults_are_told() -> None:
    page = markdown(stages())
    assert "| `seed` | seed | Which song: 0 to 2^32-1. (0 to 4294967295) |" in page
    assert "(more than 0 to 240.0; optional)" in page
    assert '(`euler`, `heun`, `pingpong`; default `"euler"`)' in page
