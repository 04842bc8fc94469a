"""Prompts of songs in training, and blanked conditions."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from acestep_flows.training.kinds.conditions import Blanks, ConditionSettings, prompt


def prompts(*tags: str, count: int = 400, **settings: float | bool) -> list[str]:
    conditions = ConditionSettings.model_validate({"shuffle_tags": False, **settings})
    random = np.random.default_rng(1)
    return [prompt(tags, {}, conditions, random) for _ in range(count)]


def test_tempos_jitter_within_their_share() -> None:
    texts = prompts("house", "120 bpm", "80s", tempo_jitter=0.02)
    assert {re.sub(r"\d+ bpm", "N bpm", text) for text in texts} == {"house, N bpm, 80s"}
    tempos = [int(number) for text in texts for number in re.findall(r"(\d+) bpm", text)]
    assert (min(tempos), max(tempos)) == (118, 122)
    assert np.mean(tempos) == pytest.approx(120, abs=0.2)
    assert set(prompts("house", "120 bpm")) == {"house, 120 bpm"}


def test_tempos_are_found_in_free_text() -> None:
    texts = prompts("a 96BPM beat with 808 drums", tempo_jitter=0.1)
    assert len(set(texts)) > 5
    assert all(re.fullmatch(r"a \d+BPM beat with 808 drums", text) for text in texts)


def test_tempos_stand_first_in_their_share_of_prompts() -> None:
    texts = prompts("house", "120 bpm", "80s", count=2000, tempo_first=0.6)
    assert set(texts) == {"house, 120 bpm, 80s", "120 bpm, house, 80s"}
    assert texts.count("120 bpm, house, 80s") / 2000 == pytest.approx(0.6, abs=0.04)
    assert set(prompts("house", "80s", tempo_first=1.0)) == {"house, 80s"}


def test_each_tag_is_dropped_by_itself() -> None:
    texts = prompts("a", "b", count=2000, drop_tag=0.25)
    assert sum("a" in text.split(", ") for text in texts) / 2000 == pytest.approx(0.75, abs=0.03)
    assert texts.count("music") / 2000 == pytest.approx(0.0625, abs=0.02)


def test_rows_are_blanked_independently() -> None:
    """By default as published: prompts and lyrics are blanked by themselves, and blanked lyrics lose their mask."""
    rows, settings = 4000, ConditionSettings()
    blanks = Blanks.draw(rows, settings, np.random.default_rng(0))
    text, ids, mask = torch.ones(rows, 2, 3), torch.full((rows, 5), 7), torch.ones(rows, 5)
    blanked = blanks.blank_text(text)
    blank_ids, blank_mask = blanks.blank_lyrics(ids, mask)
    for tensor, original in ((blanked, text), (blank_ids, ids), (blank_mask, mask)):
        flat, expected = tensor.flatten(1), original.flatten(1)
        blank, unchanged = (flat == 0).all(dim=1), (flat == expected).all(dim=1)
        assert bool((blank | unchanged).all())
        assert blank.float().mean().item() == pytest.approx(0.15, abs=0.02)
    assert torch.equal(blank_mask == 0, blank_ids == 0)
    assert blank_ids.dtype == torch.long
    both = ((blanked == 0).flatten(1).all(dim=1) & (blank_ids == 0).all(dim=1)).float().mean().item()
    assert both == pytest.approx(0.15**2, abs=0.01)


def test_blanked_lyrics_may_keep_their_mask() -> None:
    settings = ConditionSettings(drop_lyrics=0.5, keep_lyric_mask=0.5)
    blanks = Blanks.draw(4000, settings, np.random.default_rng(0))
    ids, mask = blanks.blank_lyrics(torch.full((4000, 2), 7), torch.ones(4000, 2))
    assert (ids[:, 0] == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (mask[:, 0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
