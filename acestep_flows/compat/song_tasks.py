"""What the REST interface and the chat of ACE-Step 1.5 have alike: batches, words that become tags, tasks on audio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from acestep_flows.compat.fields import Draft, settle_seeds
from acestep_flows.compat.given_audio import GivenAudio
from acestep_flows.compat.refusal import Refusal

TASKS = ("text2music", "cover", "repaint", "complete")
SECONDS = 30.0
"""Length of a song for which none is given."""

STRENGTH = 0.5
"""Of a cover for which none is given."""

LONGEST = 240.0
METRES = {"2": "2/4", "3": "3/4", "4": "4/4", "6": "6/8"}
"""Time signatures by the number that clients send."""

USUAL: Mapping[str, Any] = {
    "repainting_start": 0,
    "repainting_end": -1,
    "repaint_strength": 0.5,
    "repaint_mode": 0.5,
    "audio_cover_strength": 1,
}
"""Values of fields that say what is so anyway."""


def put_into_tags(draft: Draft, names: Iterable[str], within: str = "") -> None:
    """Add properties that this model knows only as words to the tags. Labels of the run keep them for its result.

    Args:
        names: of the properties: `bpm`, `key_scale`, ...
        within: what stands before their names in the table.
    """
    for name in names:
        field = f"{within}{name}"
        if (value := draft.values.get(field)) is None:
            continue
        words = f"{value:g} bpm" if name == "bpm" else str(value).strip()
        if words.lower() not in str(draft.inputs["tags"]).lower():
            draft.inputs["tags"] = f"{draft.inputs['tags']}, {words}"
        draft.labels[name] = words.removesuffix(" bpm")
        draft.warn(field, value, f"told to the model in the tags, as {words!r}")


def seeds_of_batch(draft: Draft) -> list[int | None]:
    """One seed for each song; None draws it. A batch of one seed counts up from it."""
    sent: list[int | None] = list(draft.values.get("seed", ()))
    count = draft.values.get("batch_size", max(1, len(sent)))
    if draft.values.get("use_random_seed") and any(seed is not None for seed in sent):
        draft.warn("seed", sent if len(sent) > 1 else sent[0], "drawn, because use_random_seed is true")
        sent = []
    if len(sent) > count:
        draft.warn("seed", sent, f"batch_size is {count}; the others are left out")
    if len(sent) == 1 and (first := sent[0]) is not None:
        return [first + number for number in range(count)]
    return (sent + [None] * count)[:count]


def settle_batch(draft: Draft) -> None:
    """The seeds of new songs."""
    settle_seeds(draft, seeds_of_batch(draft), "seed" if "seed" in draft.values else "batch_size")


def settle_one_take(draft: Draft, why: str) -> None:
    """The seed of a graph that makes one song.

    Args:
        why: what is told where several were asked for.
    """
    seeds = seeds_of_batch(draft)
    if len(seeds) > 1:
        name = "batch_size" if "batch_size" in draft.values else "seed"
        draft.warn(name, len(seeds) if name == "batch_size" else seeds, why)
    settle_seeds(draft, seeds[:1], "seed")


def stay_near(draft: Draft, source: GivenAudio, length: str) -> None:
    """Make a song near audio, and as long.

    Args:
        length: the client's name of a length.
    """
    draft.graph = "audio2audio"
    draft.put("reference", source.asset, source.field)
    take_length_of(draft, source, length)
    strength = draft.values.get("audio_cover_strength")
    if strength is None:
        draft.put("strength", STRENGTH)
        draft.warn("audio_cover_strength", None, f"{STRENGTH:g} is used; 1 would be the audio itself here")
        return
    draft.put("strength", strength, "audio_cover_strength")
    if strength == 1:
        draft.warn("audio_cover_strength", strength, "used; it gives the audio itself here, and lower changes more")


def take_length_of(draft: Draft, source: GivenAudio, length: str) -> None:
    """Leave out a length that was sent, for a song that has the length of its audio."""
    if draft.inputs.pop("duration", None) is not None:
        draft.fields.pop("duration", None)
        draft.warn(length, draft.values[length], f"the song is as long as its audio, {source.seconds:g} s")


def complete(draft: Draft, source: GivenAudio, length: str, right: str) -> None:
    """Continue the source up to the length of the draft.

    Args:
        length: the client's name of the length.
        right: its name of the seconds to add.

    Raises:
        Refusal: the source is as long already.
    """
    seconds = draft.inputs.pop("duration")
    draft.fields.pop("duration", None)
    if seconds <= source.seconds:
        raise Refusal(length, seconds, f"more than the audio's {source.seconds:g} s, up to {LONGEST:g}")
    extend(draft, source, 0.0, seconds - source.seconds, right)


def extend(draft: Draft, source: GivenAudio, before: float, after: float, right: str) -> None:
    """Make the source longer, by seconds before its start and after its end.

    Args:
        right: the client's name of the seconds after its end.
    """
    draft.graph = "extend"
    draft.put("source", source.asset, source.field)
    draft.put("left", round(before, 3), "repainting_start")
    draft.put("right", round(after, 3), right)


def tell_unused(draft: Draft, name: str, why: str) -> None:
    """Tell of a field that its task has no use for, unless it says what is so anyway."""
    if (value := draft.values.get(name)) is not None and value != USUAL[name]:
        draft.warn(name, value, f"not used; {why}")
