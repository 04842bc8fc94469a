"""Recipes are checked wholly before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from acestep_flows.errors import InputError
from acestep_flows.training.data.encode import load_encode_recipe
from acestep_flows.training.loop.recipe import load_recipe, presets

GOOD = {"kind": "autoencoder", "loop": {"steps": 10}}


def written(tmp_path: Path, content: object) -> str:
    file = tmp_path / "recipe.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(file)


@pytest.mark.parametrize("name", presets())
def test_presets_are_good(name: str) -> None:
    if "-encode" in name:
        assert load_encode_recipe(name).kind == "encode"
        return
    recipe = load_recipe(name)
    assert recipe.loop.steps > 0
    assert load_recipe(name, kind=recipe.kind) == recipe


def test_values_are_set(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    recipe = load_recipe(file, ["loop.learning_rate=1.5e-3", "source.clips=7", "crops=[64, 128]", "seed=3"])
    assert recipe.loop.learning_rate == 1.5e-3
    assert recipe.seed == 3
    assert recipe.model_dump()["source"]["clips"] == 7
    assert recipe.model_dump()["crops"] == (64, 128)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (GOOD | {"speed": 1}, "speed"),
        (GOOD | {"loop": {"steps": 10, "stepps": 1}}, "loop.stepps"),
        (GOOD | {"loop": {}}, "loop.steps"),
        ({"kind": "autoencoder"}, "loop"),
        (GOOD | {"loop": {"steps": 0}}, "loop.steps"),
        (GOOD | {"loop": {"steps": 10, "warmup": 10}}, "warmup"),
        (GOOD | {"loop": {"steps": 10, "betas": [0.9, 1.0]}}, "betas"),
        (GOOD | {"loop": {"steps": 10, "learning_rate": float("nan")}}, "learning_rate"),
        (GOOD | {"crops": [100]}, "crops"),
        (GOOD | {"source": {"kind": "folder"}}, "folder"),
        (GOOD | {"source": {"folder": "x"}}, "folder"),
        (GOOD | {"kind": "autoencoders"}, "autoencoders"),
        ({"loop": {"steps": 1}}, "kind None"),
        ("just text", "not a recipe"),
        ("a: [", "not YAML"),
    ],
)
def test_bad_recipes(tmp_path: Path, content: object, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        load_recipe(written(tmp_path, content))


@pytest.mark.parametrize("assignment", ["loop", "=3", "loop.steps.more=3", "loop.steps=[", "loop.step=3"])
def test_bad_assignments(tmp_path: Path, assignment: str) -> None:
    with pytest.raises(InputError, match=r"--set|loop\.step"):
        load_recipe(written(tmp_path, GOOD), [assignment])


def test_no_such_recipe() -> None:
    with pytest.raises(InputError, match="nano-autoencoder"):
        load_recipe("nothing")


def test_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one for decoder"):
        load_recipe(written(tmp_path, GOOD), kind="decoder")
