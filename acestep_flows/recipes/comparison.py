"""Compare two songs: what they sound like second by second, and how their recipes differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acestep_flows.audio import locality
from acestep_flows.errors import InputError
from acestep_flows.graph.language.wording import clip
from acestep_flows.graph.records import replay
from acestep_flows.graph.records.recipe import Recipe
from acestep_flows.input_reader import InputReader
from acestep_flows.recipes.carry_over import latents_beside
from acestep_flows.recipes.read import is_json, read_own_recipe, read_recipe_file
from acestep_flows.recipes.stored_recipe import FileInput, StoredRecipe
from acestep_flows.values import MUSIC, Audio, Latents, Span

ABSENT = "not given"


@dataclass(frozen=True)
class ComparedSong:
    """One of two songs.

    Attributes:
        file: with the sound or the latents.
        recipe: how it was made; None where the file does not say.
        own: the same with its nodes, where acestep_flows wrote it.
    """

    file: Path
    value: Audio | Latents
    recipe: StoredRecipe | None = None
    own: Recipe | None = None


@dataclass(frozen=True)
class SongComparison:
    """Two songs side by side.

    Attributes:
        same: whether they have the same samples, or the same latents, at the same rate.
        changes: in every second that both have.
        differences: between their recipes, in words; None where one has none.
        latent_changes: the same as `changes` in their latents, where these lie beside both files with sound.
    """

    first: ComparedSong
    second: ComparedSong
    same: bool
    changes: Sequence[locality.Change]
    differences: Sequence[str] | None
    latent_changes: Sequence[locality.Change] = ()

    @property
    def added(self) -> float:
        """Seconds that the second one is longer; below 0 where it is shorter."""
        return self.second.value.seconds - self.first.value.seconds


def read_song(path: Path, name: str) -> ComparedSong:
    """The song in a file: audio, latents, or the recipe of a run, whose song lies beside it.

    Args:
        name: of the file in errors: A or B.

    Raises:
        InputError: the file cannot be read, or holds neither.
    """
    recipe, own, file = _recipe(path), None, path
    if _is_recipe(path):
        if recipe is None or recipe.song is None:
            raise InputError("its song does not lie beside it", where=f"{name}: {path}", allowed="an audio file")
        file = recipe.song
    if recipe is not None:
        try:
            own = read_own_recipe(Path(recipe.where))
        except InputError:  # v1 wrote it
            own = None
    value = InputReader().value(str(file), MUSIC, name)
    assert isinstance(value, (Audio, Latents))
    return ComparedSong(file, value, recipe, own)


def compare_songs(first: ComparedSong, second: ComparedSong) -> SongComparison:
    """Compare two songs.

    Raises:
        InputError: one is audio, the other latents.
    """
    if first.value.kind != second.value.kind:
        raise InputError(
            f"{first.file} is {first.value.kind}, {second.file} {second.value.kind}",
            where="compare",
            allowed="two of one kind; acestep-flows run decode makes audio of latents",
        )
    known = first.recipe is not None and second.recipe is not None
    return SongComparison(
        first,
        second,
        first.value.digest == second.value.digest,
        locality.by_second(first.value, second.value),
        list(_differences(first, second)) if known else None,
        _latent_changes(first, second),
    )


def _latent_changes(first: ComparedSong, second: ComparedSong) -> Sequence[locality.Change]:
    """The change in every second of the latents beside two songs; empty where one has none."""
    before, after = (_latents_beside(song) for song in (first, second))
    return locality.by_second(before, after) if before is not None and after is not None else ()


def _latents_beside(song: ComparedSong) -> Latents | None:
    return latents_beside(song.recipe) if isinstance(song.value, Audio) and song.recipe is not None else None


def _is_recipe(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_json(file.read(100))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _recipe(path: Path) -> StoredRecipe | None:
    """The recipe of a song; latents have that of the run that wrote them: `song-latents` beside `song.json`."""
    places = [path, path.with_name(path.name.replace("-latents.safetensors", ".json"))]
    for place in dict.fromkeys(places):
        try:
            return read_recipe_file(place)
        except InputError:
            if place == path and _is_recipe(path):
                raise
    return None


def _differences(first: ComparedSong, second: ComparedSong) -> Iterator[str]:
    """How two recipes differ: graph, inputs, weights, and the first node that gave something else."""
    one, other = first.recipe, second.recipe
    assert one is not None
    assert other is not None
    if one.graph != other.graph:
        yield f"graph: {one.graph} | {other.graph}"
    elif one.digest != other.digest:
        yield f"graph: {one.graph} itself was changed"
    for name in dict.fromkeys([*one.inputs, *other.inputs]):
        before, after = one.inputs.get(name), other.inputs.get(name)
        if _plain(before) != _plain(after):
            yield f"{name}: {_words(before)} | {_words(after)}"
    if first.own is None or second.own is None:
        return
    yield from _weights(first.own, second.own)
    for package in sorted(first.own.versions.keys() & second.own.versions.keys()):
        if first.own.versions[package] != second.own.versions[package]:
            yield f"{package}: {first.own.versions[package]} | {second.own.versions[package]}"
    if one.digest == other.digest and (node := replay.compare(first.own, second.own).first) is not None:
        yield f"first difference: {node}"


def _weights(first: Recipe, second: Recipe) -> Iterator[str]:
    """How the weights differ. Of one name, they may be others, or another graph used other parts of them."""
    if first.model != second.model:
        yield f"weights: {first.model} | {second.model}"
    elif first.weights != second.weights:
        one, other = ({node.stage: node.weights for node in recipe.nodes if node.weights} for recipe in (first, second))
        changed = [stage for stage in one.keys() & other.keys() if one[stage] != other[stage]]
        if changed:
            yield f"weights: {first.model} in both, but other files in {', '.join(sorted(changed))}"


def _plain(content: Any) -> Any:
    """An input as it is compared: values by their content, not by where their file was."""
    if isinstance(content, FileInput):
        return content.digest or content.paths
    if isinstance(content, Mapping):
        return {name: _plain(part) for name, part in content.items()}
    return [_plain(part) for part in content] if isinstance(content, list) else content


def _words(content: Any) -> str:
    """An input in a few words."""
    if content is None:
        return ABSENT
    if isinstance(content, FileInput):
        digest = f" ({content.digest[:12]})" if content.digest else ""
        return f"{content.name or content.kind}{digest}"
    if isinstance(content, float):
        return f"{content:g}"
    if isinstance(content, Span):
        return f"{content.start:g}:{content.end:g}"
    return clip(str(content).replace("\n", " / "), 60)
