"""The `data` section of recipes that learn from encoded songs."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from acestep_flows.training.data.batches import SongBatches
from acestep_flows.training.data.encoded import EncodedSet, EncodedSong
from acestep_flows.training.loop.recipe import RecipeSection


class DataSettings(RecipeSection):
    """Which songs are learnt from, and how batches are made of them."""

    encoded: Path = Field(description="Folder written by `acestep-flows encode`.")
    frames: int = Field(2584, gt=0, description="Most latent frames in a batch; a longer song is a batch of its own.")
    rows: int = Field(1, gt=0, description="Most songs in a batch.")
    crop: int | None = Field(None, gt=0, description="Most latent frames taken of a song; absent: whole songs.")
    random_start: float = Field(1.0, ge=0, le=1, description="Share of crops that start at a random place.")
    tagged: list[str] | None = Field(
        None, min_length=1, description="Use only songs with at least one of these tags; absent: use all songs."
    )
    held_out: int = Field(0, ge=0, description="Songs kept out of training, for measuring.")

    def takes(self, song: EncodedSong) -> bool:
        """Whether `song` has one of the wanted tags."""
        return self.tagged is None or not set(self.tagged).isdisjoint(song.tags)

    def batches(self, songs: EncodedSet, chosen: list[int], seed: int) -> SongBatches:
        """The batches over the songs of `songs` whose numbers are `chosen`."""
        return SongBatches(
            chosen,
            [songs.songs[index].frames for index in chosen],
            seed,
            budget=self.frames,
            rows=self.rows,
            crop=self.crop,
            random_start=self.random_start,
        )
