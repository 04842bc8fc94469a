"""acestep-nano from nothing, in steps that each go on where they were stopped.

    start        a checkpoint that knows nothing          start/
    autoencoder  latents of synthetic clips               autoencoder/
    decoder      magnitudes of the spectral vocoder       decoder/
    encoded      songs as latents                         encoded/
    beat         the transformer and the text encoder,
                 on songs with a steady beat              beat/
    diffusion    both, on all songs                       diffusion/
    pairs        songs with all their stems as latents    pairs/
    extras       an adapter and two control branches     lyric2vocal/, stemgen/, singing2accompaniment/
    nano         the checkpoint, everything in its place  nano/

What a finished step has written is taken as it is: to make a step anew, remove its folder and those behind it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acestep_flows import storage
from acestep_flows.errors import Cancelled
from acestep_flows.training.loop import loop
from acestep_flows.training.loop.loop import TrainingWatch
from acestep_flows.training.nano.start import write_start

Step = Callable[["Making"], None]

EXTRAS = {"adapters": ("lyric2vocal",), "controls": ("stemgen", "singing2accompaniment")}
"""Folders of the checkpoint, and the runs whose results lie in them."""


@dataclass(frozen=True)
class Making:
    """One making of nano.

    Attributes:
        folder: holds everything.
        device: where it trains.
        changes: assignments to recipes by step, as `{"diffusion": ["loop.steps=100"]}`.
        workers: processes that encode; 0 encodes in this one.
        watch: told how training goes.
        say: told what is begun.
    """

    folder: Path
    device: str = "cpu"
    changes: dict[str, list[str]] | None = None
    workers: int = 0
    watch: TrainingWatch = lambda progress: None
    say: Callable[[str], None] = lambda text: None

    def assignments(self, step: str, *own: str) -> list[str]:
        """What a recipe is told for this making; the user's word comes last."""
        return [*own, *(self.changes or {}).get(step, ())]

    def train(self, kind: str, step: str, *own: str) -> None:
        """Train by the preset of `step` until it is finished.

        Raises:
            Cancelled: it was asked to stop; its state is saved.
        """
        import importlib

        from acestep_flows.training.loop.recipe import KINDS, load_recipe

        out = self.folder / step
        if (out / "export").is_dir():
            return
        self.say(step)
        recipe = load_recipe(f"nano-{step}", self.assignments(step, *own), kind)
        task: Any = importlib.import_module(KINDS[kind]).build(recipe, self.device)
        with getattr(task, "ready", nullcontext)():
            outcome = loop.train(task, recipe, out, resume=True, watch=self.watch)
        if not outcome.finished:
            raise Cancelled(f"{step} stopped after step {outcome.step}; the same command goes on")

    def assemble(self, name: str, below: str, *parts: Path) -> Path:
        """The checkpoint `name`: that of `below` with the folders in `parts` in place of its own."""
        target = self.folder / name
        if not target.is_dir():
            with storage.new_folder(target) as unfinished:
                _lay(self.folder / below, unfinished, parts)
        return target

    def exported(self, step: str) -> list[Path]:
        """The parts that a training step gave."""
        return sorted(part for part in (self.folder / step / "export").iterdir() if part.is_dir())


def start(making: Making) -> None:
    """Write the checkpoint that knows nothing."""
    if not (making.folder / "start" / "lyric-vocab.json").is_file():  # written last
        making.say("start")
        write_start(making.folder / "start")


def autoencoder(making: Making) -> None:
    """Train the autoencoder."""
    making.train("autoencoder", "autoencoder")


def decoder(making: Making) -> None:
    """Train the spectral vocoder, and put the two that make sound in place."""
    making.train("decoder", "decoder")
    making.assemble("sounding", "start", *making.exported("autoencoder"), *making.exported("decoder"))


def encoded(making: Making) -> None:
    """Encode the songs."""
    _encode(making, "encode", "encoded")


def pairs(making: Making) -> None:
    """Encode songs with all their stems."""
    _encode(making, "encode-pairs", "pairs")


def _encode(making: Making, step: str, name: str) -> None:
    from acestep_flows.training.data.encode import encode, load_encode_recipe

    own = f"checkpoint={making.folder / 'sounding'}"
    recipe = load_encode_recipe(f"nano-{step}", making.assignments(step, own))

    def report(done: int, songs: int, broken: int) -> None:
        making.say(f"encoded {done} of {songs} songs" + (f", {broken} could not be" if broken else ""))

    encode(recipe, making.folder / name, workers=making.workers, device=making.device, report=report)


def beat(making: Making) -> None:
    """Teach the transformer, with both encoders of words, what a tempo is."""
    making.train("diffusion", "beat", *_over(making, "sounding", "encoded"))
    making.assemble("beating", "sounding", *making.exported("beat"))


def diffusion(making: Making) -> None:
    """Teach them everything."""
    making.train("diffusion", "diffusion", *_over(making, "beating", "encoded"))
    making.assemble("base", "beating", *making.exported("diffusion"))


def extras(making: Making) -> None:
    """Train what goes on top."""
    for kind, names in (("lora", EXTRAS["adapters"]), ("control", EXTRAS["controls"])):
        for name in names:
            making.train(kind, name, *_over(making, "base", "pairs"))


def finish(making: Making) -> Path:
    """Put the checkpoint together."""
    target = making.folder / "nano"
    with storage.new_folder(target) as unfinished:
        _lay(making.folder / "base", unfinished)
        for folder, names in EXTRAS.items():
            for name in names:
                shutil.copytree(making.folder / name / "export", unfinished / folder / name)
    return target


def _lay(below: Path, folder: Path, parts: Sequence[Path] = ()) -> None:
    """The checkpoint `below` into an empty folder, with `parts` in place of its own."""
    shutil.copytree(below, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*(part.name for part in parts)))
    for part in parts:
        shutil.copytree(part, folder / part.name)


STEPS: Sequence[Step] = (start, autoencoder, decoder, encoded, beat, diffusion, pairs, extras)


def make(making: Making) -> Path:
    """Everything, in order; gives the checkpoint's folder.

    Raises:
        Cancelled: it was asked to stop; the same call goes on.
        FlowsError: what a step meets.
    """
    for step in STEPS:
        step(making)
    return finish(making)


def _over(making: Making, checkpoint: str, songs: str) -> tuple[str, str]:
    return f"checkpoint={making.folder / checkpoint}", f"data.encoded={making.folder / songs}"
