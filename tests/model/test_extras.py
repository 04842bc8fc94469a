"""Adapters and control branches by name or path."""

from __future__ import annotations

from pathlib import Path

import pytest

from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.model.extras import LORA_FILE, Extras


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    for folder in ("one/adapters/voice", "two/adapters/voice", "two/adapters/rap", "two/controls/stemgen"):
        (tmp_path / folder).mkdir(parents=True)
    return [tmp_path / "one", tmp_path / "two", tmp_path / "absent"]


def test_folders_are_searched_in_order(folders: list[Path]) -> None:
    extras = Extras(folders)
    assert extras.find("adapters", "voice") == folders[0] / "adapters" / "voice"
    assert extras.find("adapters", "rap") == folders[1] / "adapters" / "rap"
    assert extras.names("adapters") == ["rap", "voice"]


def test_a_path_is_used_unchanged(folders: list[Path], tmp_path: Path) -> None:
    assert Extras([]).find("adapters", f"{tmp_path}/one/adapters/voice") == tmp_path / "one" / "adapters" / "voice"
    with pytest.raises(CheckpointError, match="nothing at ./nowhere"):
        Extras([]).find("adapters", "./nowhere")


def test_the_folder_of_a_training_names_the_adapter_in_it(tmp_path: Path) -> None:
    made = tmp_path / "run" / "export" / LORA_FILE
    made.parent.mkdir(parents=True)
    made.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"run: the folder of a training, no adapter .*its adapter: .*export\)"):
        Extras([]).find("adapters", str(tmp_path / "run"))
    assert Extras([]).find("adapters", str(made.parent)) == made.parent
    assert Extras([]).find("adapters", str(made)) == made


def test_the_error_for_a_missing_extra_lists_the_installed_ones(folders: list[Path]) -> None:
    with pytest.raises(CheckpointError, match=r"no weights for adapter 'rpa' \(allowed: rap, voice"):
        Extras(folders).find("adapters", "rpa")
    with pytest.raises(CheckpointError, match="none are installed; none are published for stemgen"):
        Extras([]).find("controls", "stemgen")


@pytest.mark.parametrize("name", ["../one", "/etc", "a/b", "~root", "..", ".", "", "a\0b", "a" * 200])
def test_paths_can_be_turned_off(folders: list[Path], name: str) -> None:
    with pytest.raises(InputError, match="a name of letters"):
        Extras(folders, paths=False).find("adapters", name)


@pytest.mark.parametrize("name", ["", " "])
def test_a_blank_name_is_refused(folders: list[Path], name: str) -> None:
    with pytest.raises(InputError, match="a name of letters"):
        Extras(folders).find("adapters", name)


def test_whoever_lacks_an_adapter_is_told_which_there_are_and_how_to_get_one(folders: list[Path]) -> None:
    with pytest.raises(CheckpointError) as by_name:
        Extras(folders).find("adapters", "rpa")
    assert by_name.value.allowed == "rap, voice; or the path of a LoRA's file or folder; acestep-flows train makes one"
    with pytest.raises(CheckpointError) as by_path:
        Extras(folders).find("adapters", "./rpa")
    assert by_path.value.allowed == "a file or folder with its weights, or a name: rap, voice"
