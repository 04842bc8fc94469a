"""Check whether this machine is ready. Each check gives a verdict and, where it is not ok, what to do.

No check loads a model: weights are checked by their headers. The rest is tried out: torch multiplies, every audio
format is written and read back.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np

from acestep_flows.errors import FlowsError
from acestep_flows.optional_packages import EXTRAS, how_to_install
from acestep_flows.settings import CACHE, PRODUCTS, Settings
from acestep_flows.values import OUTPUT_RATE, Audio
from acestep_flows.weights.choose import Weights

Verdict = Literal["ok", "missing", "warning", "failure"]
"""`missing` is said of what few need: an extra that is not installed."""

DISTRIBUTION = "acestep-flows"
PYTHONS = ((3, 11), (3, 14))
ROOM_FOR_RESULTS = 2e9
REINSTALL = "install again with: pip install --constraint constraints.txt --editable ."
FIRST_SONG = "acestep-flows run text2music --set tags='lo-fi, piano' --set duration=10"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check. `advice` says what to do; empty when all is well."""

    check: str
    verdict: Verdict
    message: str
    advice: str = ""


def examine(
    settings: Settings, weights: Weights, *, begins: Callable[[str], None] = lambda check: None
) -> Iterator[Finding]:
    """Run all checks, in the order in which one would repair things; each finding is yielded at once.

    Args:
        begins: called before each check with what it looks at. Importing torch alone may take half a minute.
    """
    checks: Sequence[tuple[str, Callable[[], Iterable[Finding]]]] = (
        ("python", lambda: [python_version()]),
        ("packages", lambda: [packages()]),
        ("extras", extras),
        ("torch", lambda: [torch_computes()]),
        ("the device", lambda: [device()]),
        ("products", lambda: [products(settings)]),
        ("memory", lambda: [memory(weights)]),
        ("the cache", lambda: [cache_folder(settings.cache)]),
        ("audio formats", audio_formats),
        ("pictures", lambda: [picture()]),
        ("lyric libraries", lambda: [lyric_libraries()]),
        ("graphs", lambda: [graphs()]),
        ("weights", lambda: [checkpoint(weights)]),
    )
    for name, check in checks:
        begins(name)
        yield from check()


def conclusion(findings: Sequence[Finding]) -> str:
    """The last line: whether songs can be made here, and what to do next."""
    failures = sum(finding.verdict == "failure" for finding in findings)
    if failures:
        things = "one thing fails" if failures == 1 else f"{failures} things fail"
        return f"{things}: do what the arrows say, then run acestep-flows doctor again"
    return f"this machine is ready; a first song: {FIRST_SONG}"


def python_version(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    text = ".".join(str(part) for part in version)
    oldest, beyond = PYTHONS
    if oldest <= version[:2] < beyond:
        return Finding("python", "ok", f"{text} on {platform.system()} {platform.machine()}")
    return Finding("python", "failure", text, "use Python 3.11, 3.12 or 3.13: rm -r .venv; make PYTHON=python3.12 demo")


def packages(distribution: str = DISTRIBUTION) -> Finding:
    """Everything the in-process door needs is installed, in a version it is known to work with."""
    from packaging.requirements import Requirement

    try:
        requirements = [Requirement(text) for text in metadata.requires(distribution) or []]
    except metadata.PackageNotFoundError:
        return Finding("packages", "warning", f"{distribution} runs from its folder and is not installed", REINSTALL)
    wrong, count = [], 0
    for wanted in requirements:
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        count += 1
        try:
            installed = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing")
            continue
        if not wanted.specifier.contains(installed, prereleases=True):
            wrong.append(f"{wanted.name} is {installed}, needed is {wanted.specifier}")
    if wrong:
        return Finding("packages", "failure", "; ".join(wrong), REINSTALL)
    return Finding("packages", "ok", f"{count} packages in their ranges")


def extras() -> Iterator[Finding]:
    """Which extras are installed, and how to get the others."""
    for extra in EXTRAS:
        if extra.missing:
            yield Finding(extra.name, "missing", f"extra for {extra.doors}", how_to_install(extra.name))
        else:
            yield Finding(extra.name, "ok", f"extra for {extra.doors}")


def torch_computes() -> Finding:
    try:
        import torch

        total = float((torch.ones(64, 64) @ torch.ones(64, 64)).sum())
    except (ImportError, OSError, RuntimeError) as error:
        return Finding("torch", "failure", f"cannot be used: {_line(error)}", REINSTALL)
    if total != 64.0**3:
        return Finding("torch", "failure", f"computes {total} where {64.0**3} is right", REINSTALL)
    return Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")


def device() -> Finding:
    """The accelerator that --device could name, tried out."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding("device", "failure", f"torch cannot be used: {_line(error)}", REINSTALL)
    if torch.cuda.is_available():
        name, kind = torch.cuda.get_device_name(), "cuda"
    elif torch.backends.mps.is_available():
        name, kind = "Apple GPU", "mps"
    elif shutil.which("nvidia-smi"):
        advice = "install the torch build for your GPU, or leave --device cpu"
        return Finding("device", "warning", f"an NVIDIA driver, but torch {torch.__version__} cannot use it", advice)
    else:
        from acestep_flows.model.placement import has_fast_bfloat16

        slow = "" if has_fast_bfloat16("cpu") else "; --dtype bfloat16 is many times slower on it"
        return Finding("device", "ok", f"cpu, {os.cpu_count()} cores (no accelerator){slow}")
    try:
        torch.ones(8, device=kind).sum().item()
    except RuntimeError as error:
        return Finding("device", "failure", f"{name} does not compute: {_line(error)}", "use --device cpu")
    free = f", {torch.cuda.mem_get_info()[0] / 1e9:.1f} GB free" if kind == "cuda" else ""
    return Finding("device", "ok", f"{name}{free}: use --device {kind}")


def products(settings: Settings) -> Finding:
    """Who makes the denoiser's large products on a processor, and how fast both ways are here."""
    try:
        import torch

        from acestep_flows.model.fastest_products import library_for, product_rates
        from acestep_flows.model.kept_choice import follow_choices_in
        from acestep_flows.model.placement import Dtype, Placement, has_fast_bfloat16

        follow_choices_in(settings.cache)
        dtypes: list[Dtype] = ["float32", "bfloat16"] if has_fast_bfloat16("cpu") else ["float32"]
        told = []
        for dtype in dtypes:
            library = library_for(Placement(dtype=dtype, products=settings.products))
            rates = product_rates(getattr(torch, dtype))
            packed = f"oneDNN with packed weights {rates.onednn / 1e9:.0f}" if rates.onednn else "oneDNN none"
            told.append(f"{dtype} by {library} (Gflop/s a core: torch {rates.torch / 1e9:.0f}, {packed})")
    except (ImportError, OSError) as error:
        return Finding("products", "failure", f"torch cannot be used: {_line(error)}", REINSTALL)
    except FlowsError as error:
        return Finding("products", "failure", _line(error), f"unset {PRODUCTS}")
    pinned = "" if settings.products == "auto" else f"; as {PRODUCTS} says"
    return Finding("products", "ok", "on the processor " + ", ".join(told) + pinned)


def memory(weights: Weights) -> Finding:
    """Room for the weights as they lie on disk; computing in float32 takes up to twice that."""
    import psutil

    free = psutil.virtual_memory().available
    files = weights.folder.rglob("*.safetensors") if weights.folder and weights.folder.is_dir() else ()
    needed = sum(path.stat().st_size for path in files)
    message = f"{free / 1e9:.1f} GB available, weights {needed / 1e9:.1f} GB" if needed else f"{free / 1e9:.1f} GB free"
    if free < needed:
        return Finding("memory", "failure", message, "close other programs, or use a machine with more memory")
    if free < 2 * needed:
        return Finding(
            "memory", "warning", message, "use --dtype bfloat16: float32 needs up to twice the weights' size"
        )
    return Finding("memory", "ok", message)


def cache_folder(folder: Path) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        advice = f"make it writable, or name another folder in {CACHE}"
        return Finding("cache", "failure", f"{folder} cannot be written: {error.strerror or error}", advice)
    message = f"{folder}, {free / 1e9:.0f} GB free"
    if free < ROOM_FOR_RESULTS:
        return Finding("cache", "warning", message, f"make room, or name another folder in {CACHE}")
    return Finding("cache", "ok", message)


def audio_formats() -> Iterator[Finding]:
    """Write a tone with tags in every output format, read it back, and compare."""
    try:
        from acestep_flows.audio.formats import FORMATS
    except (ImportError, OSError) as error:
        yield Finding("audio", "failure", f"libsndfile cannot be used: {_line(error)}", REINSTALL)
        return
    for name in FORMATS:
        yield audio_format(name)


def audio_format(name: str) -> Finding:
    from acestep_flows.audio import read, tags, write

    advice = "the libsndfile in use lacks this format or is too old (1.1 is needed); " + REINSTALL
    tone = np.sin(np.arange(OUTPUT_RATE) * 2 * np.pi * 440 / OUTPUT_RATE) * 0.5
    with tempfile.TemporaryDirectory(prefix="acestep-flows-") as folder:
        path = Path(folder) / f"tone.{name}"
        try:
            write.audio(path, Audio(np.stack([tone, tone]), OUTPUT_RATE), tags=tags.Tags(title="tone"))
            back, back_tags = read.audio(path), tags.read(path)
        except FlowsError as error:
            return Finding(f"audio {name}", "failure", _line(error), advice)
    level = float(np.sqrt(np.mean(back.samples**2)))
    if (
        back.channels != 2
        or back.sample_rate != OUTPUT_RATE
        or abs(back.seconds - 1) > 0.1
        or abs(level - 0.354) > 0.02
    ):
        differing = f"{back.channels} channels, {back.sample_rate} Hz, {back.seconds:.2f} s, level {level:.3f}"
        return Finding(f"audio {name}", "failure", f"a tone came back as {differing}", advice)
    if back_tags.title != "tone":
        return Finding(f"audio {name}", "warning", "tags were lost: the recipe will be in its own file only", advice)
    return Finding(f"audio {name}", "ok", "written, read back, tags kept")


def picture() -> Finding:
    try:
        from acestep_flows.audio import picture

        ramp = np.linspace(-0.5, 0.5, OUTPUT_RATE, dtype=np.float32)
        with tempfile.TemporaryDirectory(prefix="acestep-flows-") as folder:
            path = Path(folder) / "picture.png"
            picture.picture(path, Audio(np.stack([ramp, ramp]), OUTPUT_RATE))
            size = path.stat().st_size
    except (ImportError, OSError, FlowsError) as error:
        return Finding("picture", "failure", _line(error), REINSTALL)
    return Finding("picture", "ok", f"{size / 1e3:.0f} kB PNG")


def lyric_libraries() -> Finding:
    """The libraries that bring data files of their own, on a word each."""
    try:
        from acestep_flows.text.classify import classify
        from acestep_flows.text.pinyin import to_pinyin
        from acestep_flows.text.romanize import romanize_japanese, romanize_korean

        language, _ = classify("The quick brown fox jumps over the lazy dog")
        words = [language, to_pinyin("\u4e2d"), romanize_japanese("\u732b"), romanize_korean("\ud55c")]
    except (ImportError, OSError, RuntimeError, LookupError) as error:
        return Finding("lyrics", "failure", _line(error), REINSTALL)
    wanted = ["en", "zhong1", "neko", "han"]
    if [word.lower().strip() for word in words] != wanted:
        return Finding("lyrics", "failure", f"{words} where {wanted} is right", REINSTALL)
    return Finding("lyrics", "ok", "language identification and every script")


def graphs() -> Finding:
    """The shipped graphs are there and check."""
    from acestep_flows.graph.checking.check import check
    from acestep_flows.graph.library import Library, shipped
    from acestep_flows.stages.registry import stages

    library = Library(working=None)
    names = library.names()
    if not names:
        return Finding("graphs", "failure", f"none in {shipped()}", REINSTALL)
    problems = [problem for path in names.values() for problem in check(library.load(path), stages(), library.nested)]
    if problems:
        return Finding("graphs", "failure", str(problems[0]), REINSTALL)
    return Finding("graphs", "ok", f"{len(names)} in {shipped()}")


def checkpoint(weights: Weights) -> Finding:
    """The weights' files are there and whole, by their headers."""
    try:
        opened = weights.open()
        opened.lyric_vocab  # noqa: B018 (raises when there is none)
    except FlowsError as error:
        advice = "acestep-flows fetch goes on where it stopped and mends what is damaged"
        return Finding("checkpoint", "failure", _line(error), advice)
    return Finding("checkpoint", "ok", str(weights))


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
