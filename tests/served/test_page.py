"""The commands of docs/serving.md."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import soundfile

from tests.served.server import Server, environment

ROOT = Path(__file__).parents[2]
README, PAGE = ROOT / "README.md", ROOT / "docs" / "serving.md"


def blocks(language: str, heading: str, file: Path = PAGE) -> list[str]:
    """The code under a heading."""
    section = file.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, flags=re.DOTALL)


def typed(console: str) -> str:
    """The commands after the prompts of a terminal."""
    return re.sub(r"^\$ ", "", console, flags=re.MULTILINE)


def shell(server: Server, script: str) -> subprocess.CompletedProcess[str]:
    """Run commands in the folder of the server's home."""
    env = environment(server.cache) | {"ACESTEP_FLOWS_SERVER": server.url}
    command = ["bash", "-c", script]
    return subprocess.run(command, cwd=server.folder, env=env, capture_output=True, text=True, check=False)


def test_the_page_says_the_same_as_readme() -> None:
    """So the test of README's commands holds for the page."""
    headings = re.findall(r"^## (.*)$", README.read_text(), flags=re.MULTILINE)
    assert headings[:4] == ["Two commands", "In the browser", "In Python", "A server"]
    commands = [typed(block) for block in blocks("console", "A server", README)]
    assert blocks("sh", "From a server to a song") == commands


def test_listening_on_the_way(server: Server) -> None:
    (script,) = blocks("sh", "Listening on the way")
    done = shell(server, f"set -e\n{script}")
    assert done.returncode == 0, done.stderr
    (preview_file,) = (server.folder / "previews").iterdir()
    assert re.fullmatch(r"run-[0-9a-f]+-take\.wav", preview_file.name)
    assert "as it sounds after step " in done.stderr
    info = soundfile.info(preview_file)
    assert (info.format, info.subtype) == ("WAV", "PCM_16")
    assert info.duration == pytest.approx(20, rel=0.02)
    assert abs(soundfile.read(preview_file)[0]).max() > 0.001


def test_in_python(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (code,) = blocks("python", "In Python")
    assert "with Client() as client" in code
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACESTEP_FLOWS_SERVER", server.url)
    output: list[str] = []
    exec(code, {"print": lambda *args: output.append(" ".join(map(str, args)))})
    assert output[0].startswith("accepted")
    assert any(line.startswith("progress take") for line in output)
    assert output[-2].startswith("succeeded")
    assert output[-1] == "succeeded"
    assert soundfile.info(tmp_path / "song.wav").duration == pytest.approx(10, rel=0.02)


def test_over_http(server: Server) -> None:
    (script,) = blocks("sh", "Over HTTP")
    done = shell(server, "set -e\n" + script.replace("http://127.0.0.1:8777", server.url))
    assert done.returncode == 0, done.stderr
    assert "event: succeeded" in done.stdout
    assert '"state":"succeeded"' in done.stdout
    assert list(server.folder.glob("text2music-*.flac"))
