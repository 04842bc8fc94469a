"""Recipes are checked as a whole before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from acestep_flows.errors import InputError
from acestep_flows.training.data.encode import load_encode_recipe
from acestep_flows.training.loop.recipe import load_recipe, presets

VALID = {"kind": "autoencoder", "loop": {"steps": 10}}


def write_recipe(tmp_path: Path, content: object) -> str:
    file = tmp_path / "recipe.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(file)


@pytest.mark.parametrize("name", presets())
def test_presets_are_valid(name: str) -> None:
    if "-encode" in name:
        assert load_encode_recipe(name).kind == "encode"
        return
    recipe = load_recipe(name)
    assert recipe.loop.steps > 0
    assert load_recipe(name, kind=recipe.kind) == recipe


def test_assignments_change_values(tmp_path: Path) -> None:
    file = write_recipe(tmp_path, VALID)
    recipe = load_recipe(file, ["loop.learning_rate=1.5e-3", "source.clips=7", "crops=[64, 128]", "seed=3"])
    assert recipe.loop.learning_rate == 1.5e-3
    assert recipe.seed == 3
    assert recipe.model_dump()["source"]["clips"] == 7
    assert recipe.model_dump()["crops"] == (64, 128)


def test_a_trial_of_a_few_steps_shortens_the_warmup_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write_recipe(tmp_path, VALID | {"loop": {"steps": 6000, "warmup": 100}})
    assert [load_recipe(file, [f"loop.steps={steps}"]).loop.warmup for steps in (5, 50, 100, 101)] == [0, 5, 10, 100]
    assert caplog.messages[1] == "loop.warmup: 5, not 100, because there are only 50 steps"
    assert len(caplog.messages) == 3
    for given in (["loop.steps=50", "loop.warmup=60"], ["loop.warmup=6000"]):
        with pytest.raises(InputError, match="must be below steps"):
            load_recipe(file, given)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (VALID | {"speed": 1}, "speed"),
        (VALID | {"loop": {"steps": 10, "stepps": 1}}, "loop.stepps"),
        (VALID | {"loop": {}}, "loop.steps"),
        ({"kind": "autoencoder"}, "loop"),
        (VALID | {"loop": {"steps": 0}}, "loop.steps"),
        (VALID | {"loop": {"steps": 10, "warmup": 10}}, "warmup"),
        (VALID | {"loop": {"steps": 10, "betas": [0.9, 1.0]}}, "betas"),
        (VALID | {"loop": {"steps": 10, "learning_rate": float("nan")}}, "learning_rate"),
        (VALID | {"crops": [100]}, "crops"),
        (VALID | {"source": {"kind": "folder"}}, "folder"),
        (VALID | {"source": {"folder": "x"}}, "folder"),
        (VALID | {"kind": "autoencoders"}, "autoencoders"),
        ({"loop": {"steps": 1}}, "kind None"),
        ("just text", "not a recipe"),
        ("a: [", "not YAML"),
    ],
)
def test_invalid_recipes_are_refused(tmp_path: Path, content: object, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        load_recipe(write_recipe(tmp_path, content))


@pytest.mark.parametrize(
    "assignment",
    ["loop", "=3", "loop.steps.more=3", "loop.steps=[", "loop.step=3", "loop.steps=1:30", "loop.steps=0100"],
)
def test_invalid_assignments_are_refused(tmp_path: Path, assignment: str) -> None:
    with pytest.raises(InputError, match=r"--set|loop\.step"):
        load_recipe(write_recipe(tmp_path, VALID), [assignment])


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(InputError, match="nano-autoencoder"):
        load_recipe("nothing")


def test_a_recipe_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one for decoder"):
        load_recipe(write_recipe(tmp_path, VALID), kind="decoder")
