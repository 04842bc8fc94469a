"""Carry the inputs of a recipe over to a graph: to its own one again, or to another one that goes on from the song."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.graph.language.syntax import Graph
from acestep_flows.graph.language.wording import clip
from acestep_flows.recipes.stored_recipe import FileInput, StoredRecipe
from acestep_flows.stages.lengths import length_warning
from acestep_flows.stages.ports import PortType
from acestep_flows.storage import file_sha256
from acestep_flows.value_file import read_value
from acestep_flows.values import OUTPUT_RATE, Latents, Span, frames_from_seconds, seconds_from_frames

OF_THE_EDIT = frozenset(
    {"span", "left", "right", "variance", "retake_seed", "strength", "minimum", "maximum", "averages"}
    | {"edits", "new_tags", "new_lyrics"}
)
"""Inputs that say how a song was changed, not what it is now. The next change has its own."""

SIDES = ("left", "right")
"""How many seconds an extension adds."""

DURATION, SEED = "duration", "seed"
"""What a song has that is made of noise alone."""

SOURCE = "source"
"""What an edit calls the song that it changes."""

OF_THE_CHOICE = ("by", "prefer")
"""How a song was picked among several takes."""

SOUND = "sound"
"""What an edit calls the audio of a song whose latents it changes."""


BEAT, NO_BEAT = "beat", "none"
"""What says whether a song plays to a beat, and that it does not."""


@dataclass
class CarriedOver:
    """What a graph takes from a recipe.

    Attributes:
        inputs: JSON, spans, and a `FileInput` for each file.
        left: what the recipe has and the graph does not take, by the reason.
        notes: what else is worth telling.
        source: the input that is the recipe's own song; empty where none is.
    """

    inputs: dict[str, Any] = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    source: str = ""

    @property
    def taken(self) -> str:
        """What the graph takes, for the user: the inputs, and of the song whether its latents or its sound."""
        names = ", ".join(self.inputs) or "nothing of it"
        if not self.source:
            return names
        song = self.inputs[self.source]
        return f"{names}; {self.source} is {'the latents in' if song.kind == 'latents' else 'the sound of'} {song.name}"

    def leave(self, name: str, value: Any, reason: str) -> None:
        """Note an input that the graph does not take. None says nothing, so nothing is lost with it."""
        if value is not None:
            self.left.setdefault(reason, []).append(f"{name} {_brief(value)}")

    def told_lengths(self) -> frozenset[str]:
        """What was told of the lengths among the inputs when they were given first, in all forms in which it is told.

        A length that a user has not given anew needs no second note.
        """
        exact = bool(self.inputs.get("exact_length"))
        lengths = {name: self.inputs.get(name) for name in (DURATION, *SIDES)}
        numbers = {name: value for name, value in lengths.items() if isinstance(value, (int, float))}
        warnings = {name: length_warning(seconds, exact) for name, seconds in numbers.items()}
        forms = [
            form for name, warning in warnings.items() if warning is not None for form in (warning, warning.of(name))
        ]
        return frozenset(text for form in forms for text in (str(form), form.plain))

    def lines(self, recipe: StoredRecipe) -> list[str]:
        """What is told to the user: what was not taken over, then notes."""
        left = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in self.left.items())
        lines = [f"not taken over: {left}"] if left else []
        return [*lines, *recipe.warnings, *self.notes]


def carry_over(recipe: StoredRecipe, graph: Graph, given: Collection[str], *, again: bool) -> CarriedOver:
    """The inputs of `graph` that a recipe has.

    Args:
        given: inputs that the user gives; these win.
        again: the recipe's own run is meant, not one that goes on from its song.

    Raises:
        InputError: the graph varies the noise of a seed, and the song was made of other music.
    """
    carried = CarriedOver()
    if not again:
        _refuse_noiseless(recipe, graph, given)
    inputs = dict(recipe.inputs) if again else _song_inputs(recipe, graph)
    source = None if again else _song_input(graph)
    if source is not None and source not in given and recipe.song is not None:
        file = song_file(recipe, graph.inputs[source].type, carried.notes)
        carried.inputs[source], carried.source = file, source
        if file.kind == "latents" and SOUND in graph.inputs and SOUND not in given and recipe.song.is_file():
            carried.inputs[SOUND] = FileInput("audio", "", (str(recipe.song),))
    for name, value in inputs.items():
        if name in given or value is None:
            continue
        if source is not None and (name in OF_THE_EDIT or isinstance(value, FileInput)):
            continue  # of the edit before, as everybody expects
        if source is not None and name in (DURATION, BEAT) and name not in graph.inputs:
            continue  # the source has it
        if name == SEED and name not in graph.inputs and "seeds" in graph.inputs:
            continue  # the graph makes other takes, of seeds of its own
        if reason := _refusal(name, value, graph, again=again):
            carried.leave(name, value, reason)
        else:
            carried.inputs[name] = value
    if not again and DURATION in graph.inputs and DURATION not in {*given, *inputs}:
        _take_length(recipe, graph, carried)
    if not again and recipe.content is not None and BEAT in graph.inputs and BEAT not in {*given, *inputs}:
        carried.inputs[BEAT] = NO_BEAT  # the song was made before models played to beats
    return carried


def varies_noise(graph: Graph) -> bool:
    """Whether a graph makes a song again from noise near that of its seed, as `retake` does."""
    return {SEED, "retake_seed", "variance"} <= graph.inputs.keys() and _song_input(graph) is None


def _refuse_noiseless(recipe: StoredRecipe, graph: Graph, given: Collection[str]) -> None:
    """Refuse to vary the noise of a song that was not made of noise alone.

    Raises:
        InputError: says which graph varies such a song.
    """
    if not varies_noise(graph) or SEED in given or _is_of_noise(recipe):
        return
    raise InputError(
        f"a song of {recipe.graph} has no noise of its own, which {graph.name} would vary",
        where=recipe.where,
        allowed="a song of text2music or its takes; the graph repaint with span 0: and variance 0.3 varies all of it",
    )


def seed_notes(recipe: StoredRecipe, graph: Graph, given: Mapping[str, Any]) -> list[str]:
    """What to tell of a seed that is given to a graph that varies a song's noise, where it is not the song's own."""
    if not varies_noise(graph) or SEED not in given:
        return []
    seed, own = given[SEED], _song_inputs(recipe, graph).get(SEED) if _is_of_noise(recipe) else None
    if own is None:
        return [f"seed {seed} is of another song, and {graph.name} varies that one"]
    advice = "leave seed out, and set retake_seed for another variation"
    differs = f"seed {seed} is not the song's own, {own}, so {graph.name} varies another song; {advice}"
    return [differs] if seed != own else []


def _is_of_noise(recipe: StoredRecipe) -> bool:
    """Whether a song was made of the noise of its seed alone."""
    return (recipe.content is None or DURATION in recipe.inputs) and not _has_files(recipe.inputs)


def _has_files(content: Any) -> bool:
    """Whether inputs name files: other music that a song was made of."""
    if isinstance(content, FileInput):
        return True
    parts = content.values() if isinstance(content, Mapping) else content if isinstance(content, list) else ()
    return any(map(_has_files, parts))


def _take_length(recipe: StoredRecipe, graph: Graph, carried: CarriedOver) -> None:
    """Take the length of the song itself, where its recipe names none: it was edited, extended or made in sections."""
    from acestep_flows.audio import read

    if recipe.song is None or not recipe.song.is_file():
        return
    try:
        seconds = read.describe(recipe.song).seconds
    except InputError:
        return
    whole = seconds_from_frames(frames_from_seconds(seconds))
    if seconds - whole < 2 / OUTPUT_RATE:  # files may have a sample more than their frames
        seconds = whole
    longest = graph.inputs[DURATION].maximum
    if longest is not None and seconds > longest:
        carried.notes.append(f"the song has {seconds:.2f} s, and {graph.name} makes up to {longest:g} s; give duration")
        return
    carried.inputs[DURATION] = seconds


def song_file(recipe: StoredRecipe, kind: PortType, notes: list[str]) -> FileInput:
    """The song of a recipe as the file that an input of type `kind` takes: its latents where they lie beside it."""
    song = recipe.song
    assert song is not None
    latents = _latents_file(song)
    if kind.kind == "latents":
        return FileInput("latents", recipe.latents, (str(latents),))
    if kind.kind == "audio" or not latents.is_file() or not recipe.latents:
        return FileInput("audio", "", (str(song),))
    if recipe.sums.get(song.name) == file_sha256(song) and latents_beside(recipe) is not None:
        return FileInput("latents", recipe.latents, (str(latents),))
    notes.append(f"{song.name} and {latents.name} are not as one run wrote them, so the sound is used")
    return FileInput("audio", "", (str(song),))


def _latents_file(song: Path) -> Path:
    """Where a run that keeps latents writes those of a song."""
    return song.with_name(f"{song.stem}-latents.safetensors")


def latents_beside(recipe: StoredRecipe) -> Latents | None:
    """The latents of a recipe's song, from the file beside it; None where none is, or one of another song."""
    if recipe.song is None or not recipe.latents or not _latents_file(recipe.song).is_file():
        return None
    try:
        latents = read_value(_latents_file(recipe.song), "latents", SOURCE)
    except InputError:
        return None
    return latents if isinstance(latents, Latents) and latents.digest == recipe.latents else None


def _song_inputs(recipe: StoredRecipe, graph: Graph) -> dict[str, Any]:
    """What the song is now: after an edit it has the new tags and words, and of several takes it has one seed."""
    inputs = {name: value for name, value in recipe.inputs.items() if "." not in name}
    edits = inputs.get("edits")
    if isinstance(edits, list) and edits and isinstance(edits[-1], str):
        inputs["lyrics"] = edits[-1]
    for now in ("tags", "lyrics"):
        if isinstance(inputs.get(f"new_{now}"), str):
            inputs[now] = inputs[f"new_{now}"]
    seeds = inputs.get("seeds")
    if isinstance(seeds, list) and "seed" not in inputs and "seeds" not in graph.inputs:
        take = 0 if len(seeds) == 1 else recipe.take
        if take is not None and take < len(seeds):
            inputs["seed"] = seeds[take]
            for name in ("seeds", *OF_THE_CHOICE):
                inputs.pop(name, None)
    return inputs


def _song_input(graph: Graph) -> str | None:
    """The input of `graph` that takes a song to go on from: `source`, or the only one that it needs."""
    files = [name for name, declared in graph.inputs.items() if declared.type.is_file]
    needed = [name for name in files if graph.inputs[name].required]
    if SOURCE in files:
        return SOURCE
    return needed[0] if len(needed) == 1 else None


def _refusal(name: str, value: Any, graph: Graph, *, again: bool) -> str:
    """Why `graph` does not take an input of the recipe; empty if it does."""
    if "." in name and again:
        return ""  # a seed of a nested graph
    if name not in graph.inputs:
        return f"no input of {graph.name}"
    kind = graph.inputs[name].type
    if isinstance(value, FileInput) and kind.is_file and kind.kind not in (value.kind, "music"):
        return f"{value.kind}, where {graph.name} takes {kind.kind}"
    return ""


def _brief(value: Any) -> str:
    if isinstance(value, FileInput):
        return value.name or value.kind
    if isinstance(value, Span):
        return f"{value.start:g}:{value.end:g}"
    if isinstance(value, (Mapping, list)):
        return f"of {len(value)}"
    return clip(str(value).replace("\n", " "), 30)
