from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import torch

from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.model.control import CONFIG, WEIGHTS, ControlBranch, blend, fit_to_song
from acestep_flows.model.layout import TRANSFORMER
from acestep_flows.model.placement import Placement
from acestep_flows.model.transformer import Transformer
from tests.model.small import edit_json, small_checkpoint

CONFIG_JSON = small_checkpoint().config(TRANSFORMER)


@cache
def transformer() -> Transformer:
    return Transformer.load(small_checkpoint(), Placement())


def test_the_control_gets_the_mean_and_deviation_of_the_tokens() -> None:
    x, control = 3 + 2 * torch.randn(2, 50, 20), -7 + 0.1 * torch.randn(2, 50, 20)
    added = blend(x, control, 1.0) - x
    torch.testing.assert_close(added.mean(dim=(1, 2)), x.mean(dim=(1, 2)), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(added.std(dim=(1, 2)), x.std(dim=(1, 2)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("level", [0.0, 2.5])
def test_a_constant_control_changes_nothing(level: float) -> None:
    x = torch.randn(2, 5, 4)
    control = torch.full_like(x, level)
    control[1] = torch.randn(5, 4)
    blended = blend(x, control, 1.0)
    assert torch.equal(blended[0], x[0])
    assert not torch.equal(blended[1], x[1])


def test_an_untrained_branch_changes_nothing_and_gets_gradients() -> None:
    branch = ControlBranch.untrained(transformer().proj_in)
    reference = torch.randn(1, 8, 16, 6)
    x = torch.randn(1, 6, transformer().config.width)
    blended = blend(x, branch(reference), 0.8 * branch.gain)
    assert torch.equal(blended, x)
    (blended - torch.randn_like(x)).square().sum().backward()
    assert branch.gain.grad is not None
    assert branch.gain.grad.abs() > 0
    torch.testing.assert_close(branch(reference), transformer().proj_in(reference))


def test_a_saved_branch_loads_unchanged(tmp_path: Path) -> None:
    branch = ControlBranch.untrained(transformer().proj_in)
    torch.nn.init.normal_(branch.proj_out.weight)
    torch.nn.init.constant_(branch.gain, 0.3)
    branch.save(tmp_path / "branch")
    loaded = ControlBranch.load(tmp_path / "branch", CONFIG_JSON, Placement())
    latents = torch.randn(1, 8, 16, 6)
    assert torch.equal(loaded(latents), branch(latents))
    assert loaded.gain.item() == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda folder: (folder / CONFIG).unlink(), "not a control branch"),
        (lambda folder: (folder / CONFIG).write_text("{"), "not a control branch"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"none"), "not a control branch"),
        (lambda folder: edit_json(folder / CONFIG, lambda content: content.update(inner_dim=8)), "width 8"),
    ],
)
def test_a_damaged_branch_is_refused(damage: object, named: str, tmp_path: Path) -> None:
    ControlBranch.untrained(transformer().proj_in).save(tmp_path)
    assert callable(damage)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=named):
        ControlBranch.load(tmp_path, CONFIG_JSON, Placement())


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    branch = ControlBranch.untrained(transformer().proj_in)
    branch.proj_out = torch.nn.Linear(3, 3)
    branch.save(tmp_path)
    assert json.loads((tmp_path / CONFIG).read_text())["inner_dim"] == branch.proj_in.width
    with pytest.raises(CheckpointError, match="misshapen"):
        ControlBranch.load(tmp_path, CONFIG_JSON, Placement())


def test_a_reference_is_cropped_or_padded_by_at_most_a_second() -> None:
    latents = torch.randn(8, 16, 100)
    assert torch.equal(fit_to_song(latents, 95), latents[..., :95])
    longer = fit_to_song(latents, 110)
    assert torch.equal(longer[..., :100], latents)
    assert not longer[..., 100:].any()
    with pytest.raises(InputError, match=r"9\.3 s"):
        fit_to_song(latents, 120)
