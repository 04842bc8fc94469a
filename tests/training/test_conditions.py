"""How songs are described to what learns from them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from acestep_flows.training.conditions import ConditionSettings, prompt


def prompts(*tags: str, count: int = 400, **settings: float | bool) -> list[str]:
    chosen = ConditionSettings.model_validate({"shuffle_tags": False, **settings})
    random = np.random.default_rng(1)
    return [prompt(tags, {}, chosen, random) for _ in range(count)]


def test_tempos_jitter_within_their_share() -> None:
    texts = prompts("house", "120 bpm", "80s", tempo_jitter=0.02)
    assert {re.sub(r"\d+ bpm", "N bpm", text) for text in texts} == {"house, N bpm, 80s"}
    found = [int(number) for text in texts for number in re.findall(r"(\d+) bpm", text)]
    assert (min(found), max(found)) == (118, 122)
    assert np.mean(found) == pytest.approx(120, abs=0.2)
    assert set(prompts("house", "120 bpm")) == {"house, 120 bpm"}


def test_tempos_are_found_where_people_write_them() -> None:
    texts = prompts("a 96BPM beat with 808 drums", tempo_jitter=0.1)
    assert len(set(texts)) > 5
    assert all(re.fullmatch(r"a \d+BPM beat with 808 drums", text) for text in texts)


def test_tags_are_dropped_each_by_its_chance() -> None:
    texts = prompts("a", "b", count=2000, drop_tag=0.25)
    assert sum("a" in text.split(", ") for text in texts) / 2000 == pytest.approx(0.75, abs=0.03)
    assert texts.count("music") / 2000 == pytest.approx(0.0625, abs=0.02)
