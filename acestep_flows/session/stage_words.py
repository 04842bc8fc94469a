"""What stages do, in words for people who wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

WORDS: Mapping[str, str] = {
    "beat": "making the beat",
    "compare": "comparing with the original",
    "decode_latents": "decoding the latents",
    "edit": "editing",
    "encode_audio": "encoding the audio",
    "encode_lyrics": "encoding the lyrics",
    "encode_prompt": "encoding the tags",
    "export": "writing the file",
    "init_noise": "drawing noise",
    "join": "joining",
    "keep_outside": "putting back what was not changed",
    "measure": "measuring",
    "mix": "mixing",
    "pick": "picking the best take",
    "repaint": "repainting",
    "sample": "sampling",
    "trim": "trimming",
    "vocode": "making the waveform",
}
"""By name of the stage."""


class NodeWords:
    """What nodes do, in words. Of several with the same stage the node's name tells which one it is.

    Args:
        stages: the stage of every node of the run.
    """

    def __init__(self, stages: Iterable[str]) -> None:
        self._counts = Counter(stages)

    def of(self, node: str, stage: str) -> str:
        """What a node does: `sampling`, or `sampling (take[3])`."""
        words = WORDS.get(stage, stage)
        return f"{words} ({node})" if self._counts[stage] > 1 and node != words else words
