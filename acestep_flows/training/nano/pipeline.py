"""Train acestep-nano from scratch, in steps that can be interrupted and continued.

    start        an untrained checkpoint                  start/
    autoencoder  latents of synthetic clips               autoencoder/
    decoder      magnitudes of the spectral vocoder       decoder/
    encoded      songs as latents                         encoded/
    diffusion    the transformer, the text encoder and
                 the control branch for beats             diffusion/
    pairs        songs with all their stems as latents    pairs/
    extras       an adapter and two control branches     lyric2vocal/, stemgen/, singing2accompaniment/
    nano         the finished checkpoint                  nano/

A finished step is not repeated. To repeat it, remove its folder and those of the later steps.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acestep_flows import storage
from acestep_flows.errors import Cancelled
from acestep_flows.model.beat_conditioning import FILE as BEAT_FILE
from acestep_flows.training.loop import loop
from acestep_flows.training.loop.loop import TrainingWatch
from acestep_flows.training.nano.start import write_start

Step = Callable[["Making"], None]

EXTRAS = {"adapters": ("lyric2vocal",), "controls": ("stemgen", "singing2accompaniment")}
"""Folders of the checkpoint, each with the training runs whose results go there."""


BEAT = {"control_branch": "beat", "pattern": "style", "scale": 1.0}
"""How the finished model plays to a beat."""


@dataclass(frozen=True)
class Making:
    """The settings of one run of the pipeline.

    Attributes:
        folder: holds all results.
        device: where it trains.
        changes: assignments to recipes by step, for example `{"diffusion": ["loop.steps=100"]}`.
        workers: processes that encode songs; 0 encodes in this process.
        watch: called with the progress of training.
        say: called with a text when a step begins.
    """

    folder: Path
    device: str = "cpu"
    changes: dict[str, list[str]] | None = None
    workers: int = 0
    watch: TrainingWatch = lambda progress: None
    say: Callable[[str], None] = lambda text: None

    def assignments(self, step: str, *own: str) -> list[str]:
        """Assignments to the recipe of `step`: the pipeline's `own`, then the user's, which win."""
        return [*own, *(self.changes or {}).get(step, ())]

    def train(self, kind: str, step: str, *own: str) -> None:
        """Train with the preset of `step` until its last step.

        Raises:
            Cancelled: the user asked to stop. The state is saved.
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

    def assemble(self, name: str, base: str, *parts: Path) -> Path:
        """Make the checkpoint `name`: the checkpoint `base` with some parts replaced by the folders `parts`."""
        target = self.folder / name
        if not target.is_dir():
            with storage.new_folder(target) as unfinished:
                _copy_checkpoint(self.folder / base, unfinished, parts)
        return target

    def exported(self, step: str) -> list[Path]:
        """The folders of the parts that a training step exported."""
        return sorted(part for part in (self.folder / step / "export").iterdir() if part.is_dir())


def start(making: Making) -> None:
    """Write the untrained checkpoint."""
    if not (making.folder / "start" / "lyric-vocab.json").is_file():  # written last
        making.say("start")
        write_start(making.folder / "start")


def autoencoder(making: Making) -> None:
    """Train the autoencoder."""
    making.train("autoencoder", "autoencoder")


def decoder(making: Making) -> None:
    """Train the spectral vocoder, and assemble a checkpoint with both trained audio parts."""
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
        making.say(f"encoded {done} of {songs} songs" + (f", {broken} could not be encoded" if broken else ""))

    encode(recipe, making.folder / name, workers=making.workers, device=making.device, report=report)


def diffusion(making: Making) -> None:
    """Train the transformer, both text encoders and the control branch for beats."""
    making.train("diffusion", "diffusion", *_inputs(making, "sounding", "encoded"))
    making.assemble("base", "sounding", *making.exported("diffusion"))


def extras(making: Making) -> None:
    """Train the adapter and the control branches."""
    for kind, names in (("lora", EXTRAS["adapters"]), ("control", EXTRAS["controls"])):
        for name in names:
            making.train(kind, name, *_inputs(making, "base", "pairs"))


def finish(making: Making) -> Path:
    """Assemble the finished checkpoint. Returns its folder."""
    target = making.folder / "nano"
    with storage.new_folder(target) as unfinished:
        _copy_checkpoint(making.folder / "base", unfinished)
        storage.write(unfinished / BEAT_FILE, (json.dumps(BEAT, indent=2) + "\n").encode())
        for folder, names in EXTRAS.items():
            for name in names:
                shutil.copytree(making.folder / name / "export", unfinished / folder / name)
    return target


def _copy_checkpoint(base: Path, folder: Path, parts: Sequence[Path] = ()) -> None:
    """Copy the checkpoint `base` into an empty folder, with some of its parts replaced by the folders `parts`."""
    shutil.copytree(base, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*(part.name for part in parts)))
    for part in parts:
        shutil.copytree(part, folder / part.name)


STEPS: Sequence[Step] = (start, autoencoder, decoder, encoded, diffusion, pairs, extras)


def make(making: Making) -> Path:
    """Run all steps in order. Returns the folder of the finished checkpoint.

    Raises:
        Cancelled: the user asked to stop; the same call goes on.
        FlowsError: a step failed.
    """
    for step in STEPS:
        step(making)
    return finish(making)


def _inputs(making: Making, checkpoint: str, songs: str) -> tuple[str, str]:
    return f"checkpoint={making.folder / checkpoint}", f"data.encoded={making.folder / songs}"
