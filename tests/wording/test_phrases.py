"""The name that a wrong one was meant as."""

from __future__ import annotations

import pytest

from acestep_flows.wording.phrases import nearest


@pytest.mark.parametrize(
    ("name", "allowed", "meant"),
    [
        ("form", ["format", "from"], "from"),
        ("fromat", ["from", "format"], "format"),
        ("vocod", ["mix", "vocode"], "vocode"),
        ("x", ["mix", "vocode"], None),
        ("", [], None),
    ],
)
def test_the_same_letters_in_another_order_are_nearest(name: str, allowed: list[str], meant: str | None) -> None:
    assert nearest(name, allowed) == meant
