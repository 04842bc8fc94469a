"""Encoded audio that is kept, because files of several runs may hold the same samples under tags of their own."""

from __future__ import annotations

import threading
from collections import OrderedDict

from acestep_flows.audio import write
from acestep_flows.audio.formats import Format
from acestep_flows.audio.tags import Tags
from acestep_flows.values import OUTPUT_RATE, Audio

KEPT_BYTES = 32 << 20


class KeptEncodings:
    """Encodes audio, the latest once for all tags. Thread-safe.

    Args:
        most: bytes of the files that are kept.
    """

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self._most, self._used = most, 0
        self._files: OrderedDict[tuple[str, str, int], write.Encoded] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, sound: Audio, kind: Format, *, tags: Tags, sample_rate: int = OUTPUT_RATE) -> write.Encoded:
        """The same bytes as `write.encode`, in the format's default sample type."""
        if kind.name not in write.TAGGED_LATER or sound.nbytes > self._most:
            return write.encode(sound, kind, subtype=None, tags=tags, sample_rate=sample_rate)
        key = sound.digest, kind.name, sample_rate
        if (plain := self._find(key)) is None:
            plain = write.encode(sound, kind, subtype=None, tags=None, sample_rate=sample_rate)
            self._keep(key, plain)
        return plain._replace(content=write.with_tags(plain.content, kind, tags, sample_rate))

    def _find(self, key: tuple[str, str, int]) -> write.Encoded | None:
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
            return self._files.get(key)

    def _keep(self, key: tuple[str, str, int], encoded: write.Encoded) -> None:
        with self._lock:
            if key in self._files:
                return
            self._files[key] = encoded
            self._used += len(encoded.content)
            while self._used > self._most:
                self._used -= len(self._files.popitem(last=False)[1].content)
