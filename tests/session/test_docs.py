"""The programs of docs/python.md and of README's chapter "In Python" run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import acestep_flows
from acestep_flows.audio import tags

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(text: str) -> list[str]:
    return BLOCK.findall(text)


def chapter(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder and a cache of its own, with no weights but the embedded ones."""
    for name in ("ACESTEP_FLOWS_CHECKPOINT", "ACESTEP_FLOWS_LYRIC_VOCAB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ACESTEP_FLOWS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_program_of_the_page_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    programs = blocks(page)
    assert page.startswith("# Python\n\n```python\nfrom acestep_flows import Session\n")
    assert len(programs) == page.count("```python")
    namespace: dict[str, Any] = {}
    for program in programs:
        exec(compile(program, "docs/python.md", "exec"), namespace)
    written = capsys.readouterr().out
    assert "InputError graph text2music: no input 'tagz', nearest 'tags'" in written
    assert "the run was cancelled" in written
    assert "take 20 of 20" in written
    names = {path.name for path in (folder / "songs").iterdir()}
    assert {"night.flac", "night.ogg", "night.png", "night-latents.safetensors", "night.json"} <= names
    assert tags.read(folder / "night.wav").recipe["inputs"]["seed"] == 7


def test_the_readme_makes_a_song_in_five_lines(folder: Path) -> None:
    text = chapter((ROOT / "README.md").read_text(encoding="utf-8"), "In Python")
    program, _ = blocks(text)
    lines = [line for line in program.splitlines() if line]
    assert len(lines) <= 5
    exec(compile(shortened(program), "README.md", "exec"), {})
    assert sorted(path.suffix for path in (folder / "songs").iterdir()) == [".json", ".png", ".wav"]


def test_the_readme_repaints_the_song_when_pasted_after_it(folder: Path) -> None:
    text = chapter((ROOT / "README.md").read_text(encoding="utf-8"), "In Python")
    namespace: dict[str, Any] = {}
    for program in blocks(text):
        exec(compile(shortened(program), "README.md", "exec"), namespace)
    songs = {path.name.split("-")[0] for path in (folder / "songs").glob("*.wav")}
    assert songs == {"text2music", "repaint"}


def shortened(program: str) -> str:
    """A program of README's chapter with a shorter song and fewer steps."""
    short = program.replace("duration=10,", "duration=1, steps=2,").replace("span=(4, 6),", "span=(0.2, 0.6), steps=2,")
    assert short != program
    return short


def test_the_public_names_are_a_list() -> None:
    assert acestep_flows.__all__ == ["Session", "Client", "AsyncClient", "Audio", "Latents", "FlowsError"]
    assert all(hasattr(acestep_flows, name) and name in dir(acestep_flows) for name in acestep_flows.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Engine'"):
        acestep_flows.Engine  # noqa: B018


def test_importing_the_session_stays_light() -> None:
    program = "import sys; from acestep_flows import Session; print(*{'torch', 'ray', 'librosa'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    program = "import sys, acestep_flows; print(*{'numpy', 'click', 'acestep_flows.session'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
