"""Write synthetic clips as a training folder, in the layout that upstream's tools read (spec 05 section 1.1).

Each clip is `NAME.flac`, `NAME_prompt.txt`, `NAME_lyrics.txt`, and `NAME_truth.json` with its exact properties. With
stems there is also `NAME.STEM.flac` for each stem.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from acestep_flows import storage
from acestep_flows.errors import InputError, StorageError
from acestep_flows.training.synthesis.compose import compose
from acestep_flows.training.synthesis.piece import Piece
from acestep_flows.training.synthesis.render import render
from acestep_flows.training.synthesis.wavetable import Signal


def write_folder(
    out: Path,
    count: int,
    seed: int = 0,
    *,
    seconds: float = 8.9,
    style: str | None = None,
    vocal: str | None = None,
    aligned: bool = True,
    stems: bool = False,
    watch: Callable[[int], None] | None = None,
) -> list[Path]:
    """Write `count` clips with seeds `seed`, `seed + 1`, ... and return their audio files.

    A clip that already exists is left unchanged, so an interrupted call can be repeated.

    Args:
        watch: called with the number of existing clips after each one.

    Raises:
        InputError: a choice does not exist.
        StorageError: a file cannot be written.
    """
    if count < 1:
        raise InputError(f"{count} clips", where="count", allowed="1 or more")
    paths: list[Path] = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for number in range(seed, seed + count):
            path = out / f"synthetic-{number:08d}.flac"
            if not path.exists():
                score = compose(number, seconds=seconds, style=style, vocal=vocal, aligned=aligned)
                _write(path, render(score), stems)
            paths.append(path)
            if watch is not None:
                watch(len(paths))
    except OSError as error:
        raise StorageError(f"cannot write to {out}: {error.strerror or error}") from error
    return paths


def _write(path: Path, piece: Piece, stems: bool) -> None:
    """Write the files of a clip, its mix last, so that a clip with a mix is whole."""
    base = path.with_suffix("")
    _text(base.with_name(f"{base.name}_prompt.txt"), piece.tags)
    _text(base.with_name(f"{base.name}_lyrics.txt"), piece.lyrics)
    _text(base.with_name(f"{base.name}_truth.json"), json.dumps(asdict(piece.truth), indent=1))
    if stems:
        for name, stem in piece.stems.items():
            _audio(base.with_name(f"{base.name}.{name}.flac"), stem, piece.sample_rate)
    _audio(path, piece.mix, piece.sample_rate)


def _text(path: Path, text: str) -> None:
    storage.write(path, text.encode("utf-8"))


def _audio(path: Path, samples: Signal, rate: int) -> None:
    import io

    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples.T, -1.0, 1.0), rate, format="FLAC", subtype="PCM_16")
    storage.write(path, buffer.getvalue())
