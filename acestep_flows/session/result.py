"""What a run gives: songs and other values by name, and the recipe they were made by."""

from __future__ import annotations

import html
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from acestep_flows.errors import InputError, NotFound
from acestep_flows.graph.content import leaves, translate
from acestep_flows.graph.execution.result import Result as PlanResult
from acestep_flows.graph.language.wording import listing, unlike
from acestep_flows.graph.records.recipe import Recipe, recipe
from acestep_flows.outputs import (
    audio_tag_recipe,
    check_stem,
    output_warnings,
    placed_files,
    unique_stem,
    write_outputs,
)
from acestep_flows.session.notebook import song_html
from acestep_flows.session.notes import MOST_KEPT, notes_of_texts
from acestep_flows.session.options import read_names, read_path
from acestep_flows.session.planned_run import PlannedRun
from acestep_flows.session.summary import summary_lines
from acestep_flows.values import Audio, FloatArray
from acestep_flows.wording.phrases import allowing

log = logging.getLogger(__name__)

FORMATS = ("wav", "flac", "mp3", "ogg")
UNWRITTEN = ("aac", "aif", "aiff", "caf", "json", "m4a", "mp4", "opus", "png", "txt", "webm", "wma")
"""Endings of files that people may ask for, which are not written here. Any other one may be that of a folder."""
MOST_SHOWN = 8
"""Songs that a notebook shows of one result: each is megabytes of page."""


class SongAudio(Audio):
    """Audio that a run gave: it goes wherever audio goes, saves itself with its recipe, and plays in a notebook.

    `dataclasses.replace` gives a copy with other samples or another rate, which has no recipe.

    Attributes:
        samples: float32 (channels, n), in -1..1 nominal (not clipped).
        sample_rate: in Hz.
        recipe: how it was made; None: not by a run.
        title: the graph and output it came from.
    """

    recipe: Recipe | None
    title: str

    def __init__(
        self,
        samples: FloatArray,
        sample_rate: int,
        recipe: Recipe | None = None,
        title: str = "audio",
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(samples, sample_rate, tuple(notes))
        vars(self).update(recipe=recipe, title=title)

    def __repr__(self) -> str:
        return f"<SongAudio {self.title}: {self.seconds:.1f} s, {self.channels} channels at {self.sample_rate} Hz>"

    def save(self, path: str | PathLike[str], format: str | None = None) -> Path:
        """Write the audio to `path`, as stereo with the recipe in its tags; an old file is replaced.

        It keeps its rate if the format has it.

        Args:
            path: a file; `RunResult.save` also writes the picture and the recipe.
            format: wav, flac, mp3 or ogg; None: what the extension says.

        Raises:
            InputError: the extension or format is none of these.
            StorageError: the file cannot be written; nothing is left behind.
        """
        from acestep_flows.audio import formats, tags, write

        path = read_path(path, "path")
        recipe_json = (
            audio_tag_recipe(self.recipe.as_json() | placed_files(self.recipe, path.parent)) if self.recipe else {}
        )
        rate = write.own_rate(self, formats.format_for(path, format))
        return write.audio(path, self, format=format, tags=tags.Tags(recipe_json, path.stem), sample_rate=rate).path

    def _repr_html_(self) -> str:
        return song_html(self, self.title)


@dataclass(frozen=True, repr=False)
class RunResult:
    """A run that is over. Outputs are attributes (`result.audio`), items (`result["audio"]`) and in `outputs`.

    Attributes:
        graph: the graph's name.
        outputs: by name: a `SongAudio` for audio, values, plain data, or lists and maps of them.
        inputs: the inputs of the run, defaults and drawn seeds filled in; given again, they make the same song.
        recipe: how the outputs were made.
        warnings: what to know of them: a song shorter than asked, tags that the model does not know, lyrics left out,
            audio that is almost silent. An edit does not repeat what was told of the same words before.
        drawn: the seeds among `inputs` that nobody gave.
        summary: lines for people: drawn seeds, steps that were skipped, what an edit changed.
    """

    graph: str
    outputs: Mapping[str, Any]
    inputs: Mapping[str, Any]
    recipe: Recipe
    warnings: Sequence[str] = ()
    drawn: Mapping[str, int] = field(default_factory=dict)
    summary: tuple[str, ...] = ()

    @property
    def seeds(self) -> Mapping[str, Any]:
        """Every seed in use, given or drawn, by node and parameter: `noise.seed`."""
        return {name: seed for name, seed in self.recipe.seeds.items() if seed is not None}

    @property
    def seconds(self) -> float:
        """What the run took."""
        return self.recipe.seconds

    @property
    def lyric_times(self) -> list[tuple[float, str]]:
        """Seconds and words of the lines of the input `lyrics` that have time stamps, as LRC files have them.

        The model is given no times, so it may sing them at others.
        """
        from acestep_flows.stages.encode_lyrics import timed_lines

        lyrics = self.inputs.get("lyrics")
        return timed_lines(lyrics) if isinstance(lyrics, str) else []

    def __getitem__(self, name: str) -> Any:
        if name not in self.outputs:
            raise NotFound(unlike("output", str(name), self.outputs), allowed=self.outputs, field="name")
        return self.outputs[name]

    def __getattr__(self, name: str) -> Any:
        outputs = self.__dict__.get("outputs", {})
        if name not in outputs:
            raise AttributeError(unlike("output", name, outputs))
        return outputs[name]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.outputs})

    def __repr__(self) -> str:
        song = self.outputs.get("audio")
        length = f", {song.seconds:.1f} s of audio" if isinstance(song, Audio) else ""
        return f"<RunResult of {self.graph}: {listing(self.outputs)}{length}; took {self.seconds:.1f} s>"

    def _repr_html_(self) -> str:
        songs = list(_songs(self.outputs))
        shown = "".join(f"<p>{html.escape(song.title)}</p>{song_html(song, song.title)}" for song in songs[:MOST_SHOWN])
        left = len(songs) - MOST_SHOWN
        more = f"<p>and {left} more songs</p>" if left > 0 else ""
        return f"<p>{html.escape(repr(self))}</p>{shown}{more}"

    def save(
        self,
        path: str | PathLike[str] = "outputs",
        *,
        name: str | None = None,
        format: str | None = None,
        keep: str | Sequence[str] = (),
    ) -> list[Path]:
        """Write the outputs: every audio with the recipe in its tags and a picture beside it, and the recipe.

        Args:
            path: a folder, made if it is missing; or an audio file, beside which the others are written.
            name: the name that the files share, where `path` is a folder; None: a new one.
            format: wav, flac, mp3 or ogg; None: what the extension of the file or of the name says, else wav.
            keep: outputs to write that are no audio, such as latents, as safetensors.

        Returns:
            The files, audio first, the recipe last.

        Raises:
            InputError: an unknown format or output, an extension of another format, or a name that files cannot have.
            StorageError: a file cannot be written.
        """
        target = output_target(path, name, format)
        keep = read_names(keep, "keep")
        for output in keep:
            if output not in self.outputs:
                raise allowing(InputError(unlike("output", output, self.outputs), where="keep"), self.outputs)
        stem = target.stem or unique_stem(self.graph)
        return write_outputs(target.folder, stem, self.outputs, self.recipe, format=target.format, keep=keep)


def result_of(
    planned: PlannedRun,
    executed: PlanResult,
    outputs: Mapping[str, Any],
    model: str,
    notes: Sequence[str] = (),
    known: Collection[str] = (),
) -> RunResult:
    """The result of a run. Warnings of its outputs are logged, those of its plan have been.

    Args:
        executed: as the scheduler gave it.
        outputs: its outputs, fetched.
        model: what recipes call the weights.
        notes: what the weights do not know of the plan.
        known: notes about tags and lyrics that were told before, and are not told again.
    """
    of_texts = [*notes, *notes_of_texts(outputs)]
    kept = list(dict.fromkeys([*of_texts, *sorted(known)]))[:MOST_KEPT]
    made_by = recipe(executed, planned.content, planned.files, model, kept)
    graph = planned.plan.graph
    songs = {name: translate(content, _song(made_by, f"{graph}, {name}")) for name, content in outputs.items()}
    repeated = set(of_texts) & set(known)
    told = [warning for warning in output_warnings(songs) if warning not in repeated]
    for warning in told:
        log.warning(warning)
    warnings = (*planned.plan.warnings, *(note for note in notes if note not in repeated), *told)
    summary = summary_lines(planned.plan, outputs, planned.drawn, planned.original)
    return RunResult(graph, songs, planned.plan.inputs, made_by, warnings, planned.drawn, summary)


def _song(recipe: Recipe, title: str) -> Callable[[Any], Any]:
    def song(leaf: Any) -> Any:
        return SongAudio(leaf.samples, leaf.sample_rate, recipe, title) if isinstance(leaf, Audio) else leaf

    return song


def _songs(content: Any) -> Iterator[SongAudio]:
    return (leaf for leaf in leaves(content) if isinstance(leaf, SongAudio))


@dataclass(frozen=True)
class OutputTarget:
    """Where the files of a run go.

    Attributes:
        folder: theirs; it may be missing.
        stem: the name that they share, without extension; None: a new one.
        format: of audio: wav, flac, mp3 or ogg.
    """

    folder: Path
    stem: str | None
    format: str


@dataclass(frozen=True)
class TargetWords:
    """What a door calls where files go, in its errors: `--out`, or `path`."""

    path: str = "path"
    name: str = "name"
    format: str = "format"


def output_target(
    path: str | PathLike[str], name: str | None, format: str | None, words: TargetWords = TargetWords()
) -> OutputTarget:
    """Where files go by the path, name and format that a user gives. An ending gives the format: `beat.mp3` is mp3.

    Args:
        path: a folder, or an audio file beside which the others are written.
        name: the name that the files share, where `path` is a folder.
        format: of audio; None: as the ending says, else wav.

    Raises:
        InputError: an unknown format, an ending that is another format, or a name that files cannot have.
    """
    if format is not None and format not in FORMATS:
        raise allowing(InputError(unlike("format", str(format), FORMATS), where=words.format), FORMATS)
    target = read_path(path, words.path)
    extension = target.suffix.removeprefix(".").lower()
    if target.is_file() and extension not in (*FORMATS, *UNWRITTEN):
        raise InputError(f"{str(target)!r} is a file", where=words.path, allowed="a folder, or an audio file")
    if target.is_dir() or extension not in (*FORMATS, *UNWRITTEN) or str(path).endswith(("/", os.sep)):
        return OutputTarget(target, *_stem_and_format(name, format, words.name, words))
    if name is not None:
        what = f"{str(target)!r} names the file, and so does {words.name}"
        raise InputError(what, where=words.path, allowed=f"a folder with {words.name}, or a file alone")
    return OutputTarget(target.parent, *_stem_and_format(target.name, format, words.path, words))


def _stem_and_format(name: str | None, format: str | None, where: str, words: TargetWords) -> tuple[str | None, str]:
    """The stem and the format of files called `name`, which may have the ending of an audio format."""
    if name is None:
        return None, format or "wav"
    stem, dot, extension = name.rpartition(".")
    extension = extension.lower()
    if not dot or extension not in (*FORMATS, *UNWRITTEN):
        return _checked_stem(name, where), format or "wav"
    if extension in UNWRITTEN:
        endings = listing(f".{known}" for known in FORMATS)
        raise InputError(f"{name!r}: no {extension} is written", where=where, allowed=f"a name that ends in {endings}")
    if format not in (None, extension):
        what = f"{format} for files called {name!r}"
        raise InputError(what, where=words.format, allowed=f"{extension}, or another {where}")
    return _checked_stem(stem, where), extension


def _checked_stem(stem: str, where: str) -> str:
    try:
        return check_stem(stem)
    except InputError as error:
        raise InputError(error.what, where=where, allowed=error.allowed) from None
