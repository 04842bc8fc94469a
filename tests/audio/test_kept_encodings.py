"""Encoded audio that is kept: the same bytes as without, for any tags."""

from __future__ import annotations

import numpy as np
import pytest

from acestep_flows.audio import write
from acestep_flows.audio.formats import FORMATS
from acestep_flows.audio.kept_encodings import KeptEncodings
from acestep_flows.audio.tags import Tags
from acestep_flows.values import Audio

TAGS = [Tags({"seed": seed, "text": "x" * 5000 * seed}, title=title) for seed, title in enumerate(("a", "", "\u6b4c"))]


def noise(seconds: float = 0.5, rate: int = 44_100, level: float = 0.3, seed: int = 0) -> Audio:
    samples = np.random.default_rng(seed).standard_normal((2, round(rate * seconds)), np.float32)
    return Audio(samples * np.float32(level), rate)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("level", [0.3, 2.0])
def test_the_bytes_are_those_of_encoding_anew(name: str, level: float) -> None:
    kept, kind = KeptEncodings(), FORMATS[name]
    for sound in (noise(level=level), noise(rate=48_000, level=level)):
        for tags in TAGS:
            rate = write.own_rate(sound, kind)
            anew = write.encode(sound, kind, subtype=None, tags=tags, sample_rate=rate)
            if name == "ogg":  # its streams have a random number
                assert kept.encode(sound, kind, tags=tags, sample_rate=rate)[1:] == anew[1:]
            else:
                assert kept.encode(sound, kind, tags=tags, sample_rate=rate) == anew


def test_samples_are_encoded_once_for_all_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    encode = write.encode

    def counting(sound: Audio, *args: object, **options: object) -> write.Encoded:
        made.append(sound.digest)
        return encode(sound, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(write, "encode", counting)
    one, two = noise(seed=1), noise(seed=2)
    kept = KeptEncodings()
    for tags in TAGS:
        kept.encode(one, FORMATS["flac"], tags=tags)
    kept.encode(two, FORMATS["flac"], tags=TAGS[0])
    kept.encode(one, FORMATS["wav"], tags=TAGS[0])
    assert made == [one.digest, two.digest, one.digest]


def test_no_more_is_kept_than_may_be() -> None:
    flac = FORMATS["flac"]
    size = len(write.encode(noise(), flac, subtype=None, tags=None).content)
    kept = KeptEncodings(most=2 * size + size // 2)
    for seed in range(5):
        kept.encode(noise(seed=seed), flac, tags=TAGS[0])
        assert kept._used == sum(len(file.content) for file in kept._files.values()) <= 2 * size + size // 2
    small = KeptEncodings(most=size // 2)
    assert small.encode(noise(), flac, tags=TAGS[0]) == write.encode(noise(), flac, subtype=None, tags=TAGS[0])
    assert not small._files
