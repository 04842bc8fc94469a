"""The choice of weights."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.model.embedded import NAME, embedded_checkpoint
from acestep_flows.settings import Settings
from acestep_flows.weights import choose, hub
from acestep_flows.weights.choose import Weights, choose_weights, open_named


def test_the_argument_takes_precedence(tmp_path: Path) -> None:
    settings = Settings(tmp_path, checkpoint=tmp_path / "named", lyric_vocab=tmp_path / "v.json")
    folder = tmp_path / "argument"
    assert choose_weights(settings, str(folder)) == Weights("argument", folder, tmp_path / "v.json", tmp_path)
    assert choose_weights(settings) == Weights("environment", tmp_path / "named", tmp_path / "v.json", tmp_path)
    assert choose_weights(settings, "embedded").folder is None
    assert choose_weights(settings, None, tmp_path / "other.json").lyric_vocab == tmp_path / "other.json"


def test_fetched_weights_take_precedence_over_the_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(tmp_path)
    assert choose_weights(settings) == Weights("embedded", None, None, tmp_path)
    monkeypatch.setattr(choose, "is_fetched", lambda folder: folder == hub.default_folder(tmp_path))
    assert choose_weights(settings) == Weights("fetched", hub.default_folder(tmp_path), None, tmp_path)


def test_the_description_of_embedded_weights_names_the_model(tmp_path: Path) -> None:
    assert "acestep-nano" in str(choose_weights(Settings(tmp_path)))
    assert "synthetic" in str(choose_weights(Settings(tmp_path)))
    assert str(choose_weights(Settings(tmp_path), "/some/where")) == "/some/where"


def test_recipes_name_the_weights(tmp_path: Path) -> None:
    assert choose_weights(Settings(tmp_path)).model == NAME
    assert choose_weights(Settings(tmp_path), "/some/where").model == "where"


def test_an_empty_checkpoint_is_not_the_working_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^--checkpoint: empty \(allowed: a folder, or 'embedded'\)"):
        choose_weights(Settings(tmp_path), "")


@pytest.mark.parametrize(("argument", "where"), [("/nowhere", "--checkpoint"), (None, "ACESTEP_FLOWS_CHECKPOINT")])
def test_the_error_for_a_missing_folder_names_its_origin(argument: str | None, where: str) -> None:
    settings = Settings(Path("/cache"), checkpoint=Path("/nowhere"))
    with pytest.raises(CheckpointError, match=rf"^{where}: no folder /nowhere \(allowed: .*'embedded'"):
        choose_weights(settings, argument).open()


def test_the_embedded_model_uses_its_own_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "published.json").write_text("{}")
    settings = Settings(tmp_path, lyric_vocab=tmp_path / "published.json")
    assert choose_weights(settings).lyric_vocab is None
    assert choose_weights(settings).open().lyric_vocab.parent == choose_weights(settings).open().root
    with pytest.raises(InputError, match=r"^--lyric-vocab: the embedded model has .* own \(allowed: .*--checkpoint"):
        choose_weights(settings, "embedded", tmp_path / "published.json")


def test_digests_are_cached_on_disk(tmp_path: Path) -> None:
    weights = choose_weights(Settings(tmp_path))
    weights.open().digest("umt5-base")
    assert any((tmp_path / "digests").iterdir())
    elsewhere = choose_weights(Settings(tmp_path / "other"), str(weights.open().root))
    elsewhere.open().digest("umt5-base")
    assert any((tmp_path / "other" / "digests").iterdir())


def test_a_cache_that_others_may_write_to_is_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for mode, told in ((0o755, 0), (0o777, 1)):
        cache = tmp_path / f"{mode}"
        cache.mkdir()
        cache.chmod(mode)
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                choose_weights(Settings(cache))
        assert [str(cache) in message for message in caplog.messages] == [True] * told


def test_training_recipes_name_weights_as_commands_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACESTEP_FLOWS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert open_named(Path("embedded")).root == embedded_checkpoint()
    monkeypatch.setattr(choose, "installed", lambda cache, repo: embedded_checkpoint() if repo == "org/own" else None)
    assert open_named(Path("org/own")).root == embedded_checkpoint()
    for absent in ("org/other", "nowhere"):
        with pytest.raises(CheckpointError, match=f"{absent}: no such folder"):
            open_named(Path(absent))
    with pytest.raises(InputError, match="lyric_vocab: the embedded model has a vocabulary"):
        open_named(Path("embedded"), tmp_path / "vocab.json")
    (tmp_path / "embedded").mkdir()
    with pytest.raises(CheckpointError, match="embedded"):  # a folder of that name goes first
        open_named(Path("embedded"))
