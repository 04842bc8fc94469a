"""The song that a run varies where it is none of the run's inputs, and how near the result is to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from acestep_flows.errors import InputError
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.recipes.carry_over import latents_beside
from acestep_flows.recipes.stored_recipe import StoredRecipe
from acestep_flows.values import Audio, Latents, Span, seconds_from_frames

Music: TypeAlias = Audio | Latents


@dataclass(frozen=True)
class Original:
    """A song by its recipe, as `run retake --from song.wav` varies it.

    Attributes:
        store: stored results, among which its latents may be.
    """

    recipe: StoredRecipe
    store: DiskStore | None = None

    def music(self) -> list[Music]:
        """Its latents and its sound, as far as they are found."""
        return [found for found in (self._latents(), self._audio()) if found is not None]

    def _latents(self) -> Latents | None:
        if (beside := latents_beside(self.recipe)) is not None or self.store is None or not self.recipe.latents:
            return beside
        stored = self.store.find("latents", self.recipe.latents)
        return stored if isinstance(stored, Latents) else None

    def _audio(self) -> Audio | None:
        from acestep_flows.audio import read

        if self.recipe.song is None or not self.recipe.song.is_file():
            return None
        try:
            return read.audio(self.recipe.song)
        except InputError:
            return None


def changes(before: Iterable[Music], outputs: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """How much the song among the outputs of a run differs from another one, as far as both are of one length.

    Returns:
        `latents` and `heard`, with a comparison as `audio.locality` makes it.
    """
    from acestep_flows.audio import locality

    found: list[tuple[str, dict[str, Any]]] = []
    for old in before:
        kind = Latents if isinstance(old, Latents) else Audio
        new: Any = next((output for output in outputs.values() if isinstance(output, kind)), None)
        if new is None or abs(new.seconds - old.seconds) > seconds_from_frames(1):
            continue
        whole = Span(0.0, new.seconds)
        if isinstance(old, Latents) and isinstance(new, Latents):
            found.append(("latents", locality.latents(old, new, whole).entries()))
        elif isinstance(old, Audio) and isinstance(new, Audio):
            found.append(("heard", locality.audio(old, new, whole).entries()))
    return found
