"""Audio of encoded songs, read again from the source that they were encoded from."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from acestep_flows.errors import InputError
from acestep_flows.training.data.batches import Crop
from acestep_flows.training.data.encoded import MIX, EncodedSet
from acestep_flows.training.data.song import SongSource
from acestep_flows.training.data.sources import SourceSettings, open_source
from acestep_flows.values import MODEL_RATE, SAMPLES_PER_FRAME, FloatArray


class Sounds:
    """The mixes of the songs in `songs`. The source must still be where it was when they were encoded.

    Raises:
        InputError: the source is gone, or the folder does not name it.
    """

    def __init__(self, songs: EncodedSet) -> None:
        self._songs = songs
        settings: TypeAdapter[Any] = TypeAdapter(Annotated[SourceSettings, Field(discriminator="kind")])
        try:
            self._source: SongSource = open_source(settings.validate_python(songs.about.get("source")))
        except ValidationError:
            raise InputError("the file does not name the source of its songs", where=str(songs.folder)) from None
        except InputError as error:
            raise InputError(f"audio teachers need the source of the songs: {error}", where=str(songs.folder)) from None

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {self._source.key(number): number for number in reversed(range(len(self._source)))}

    def mono(self, crop: Crop, rate: int) -> FloatArray:
        """Samples (n,) of a crop at `rate` Hz: the channels averaged, then resampled.

        Raises:
            InputError: the source no longer has the song, or the song cannot be read.
        """
        from acestep_flows.audio.resample import resample

        key = self._songs.songs[crop.song].key
        if key not in self._numbers:
            raise InputError(f"the source no longer has song {key!r}", where=str(self._songs.folder))
        try:
            audio = self._source.song(self._numbers[key]).tracks[MIX]
        except InputError as error:
            raise InputError(f"song {key!r} cannot be read: {error}", where=str(self._songs.folder)) from None
        scale = SAMPLES_PER_FRAME * audio.sample_rate / MODEL_RATE
        first, last = round(crop.start * scale), round((crop.start + crop.frames) * scale)
        cut = audio.samples[:, first:last].mean(axis=0, keepdims=True)
        length = cut.shape[1] * rate // audio.sample_rate
        return np.ascontiguousarray(resample(cut, audio.sample_rate, rate)[0, :length])
