"""The `data` section of recipes that learn from encoded songs."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from acestep_flows.training.data.batches import SongBatches
from acestep_flows.training.data.encoded import EncodedSet, EncodedSong
from acestep_flows.training.loop.recipe import RecipeSection


class DataSettings(RecipeSection):
    """Which songs, and how they are put together."""

    encoded: Path = Field(description="Folder that `acestep-flows encode` has written.")
    frames: int = Field(2584, gt=0, description="Latent frames of a batch; a longer song is a batch of its own.")
    rows: int = Field(1, gt=0, description="Songs of a batch at most.")
    crop: int | None = Field(None, gt=0, description="Latent frames of a song at most; absent: songs are taken whole.")
    random_start: float = Field(1.0, ge=0, le=1, description="Share of cropped songs that begin anywhere.")
    tagged: list[str] | None = Field(
        None, min_length=1, description="Tags of which a song must have one to be taken; absent: all are taken."
    )
    held_out: int = Field(0, ge=0, description="Songs that are kept back for measuring.")

    def takes(self, song: EncodedSong) -> bool:
        """Whether `song` is among those asked for."""
        return self.tagged is None or not set(self.tagged).isdisjoint(song.tags)

    def batches(self, songs: EncodedSet, chosen: list[int], seed: int) -> SongBatches:
        """The batches over the `chosen` songs."""
        return SongBatches(
            chosen,
            [songs.songs[index].frames for index in chosen],
            seed,
            budget=self.frames,
            rows=self.rows,
            crop=self.crop,
            random_start=self.random_start,
        )
