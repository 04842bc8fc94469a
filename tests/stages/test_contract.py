"""Every stage declares itself completely, and cheaply."""

from __future__ import annotations

import subprocess
import sys

import pytest

from acestep_flows.errors import NotFound
from acestep_flows.stages.contract import Stage
from acestep_flows.stages.registry import stage_class, stages

EVERY = pytest.mark.parametrize("stage", stages().values(), ids=list(stages()))


def test_the_stages_of_the_mission_are_all_there() -> None:
    needed = "encode_prompt encode_lyrics init_noise encode_audio sample repaint edit decode_latents vocode mix"
    assert set(needed.split()) <= set(stages())


@EVERY
def test_names_versions_and_docs(stage: type[Stage]) -> None:
    assert stages()[stage.name] is stage
    assert stage.version >= 1
    assert len(stage.__doc__ or "") > 20
    assert stage.outputs()


@EVERY
def test_every_parameter_is_described(stage: type[Stage]) -> None:
    described = {name: port.description for name, port in stage.inputs().items() if name in stage.Params.model_fields}
    assert all(described.values()), [name for name, text in described.items() if not text]


@EVERY
def test_unknown_parameters_are_refused(stage: type[Stage]) -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        stage.Params(no_such_parameter=1)  # type: ignore[call-arg]


def test_declaring_stages_imports_neither_torch_nor_ray() -> None:
    code = (
        "import sys; from acestep_flows.stages.registry import stages\n"
        "for stage in stages().values(): stage.inputs(), stage.outputs()\n"
        "print(sorted({'torch', 'ray', 'transformers', 'diffusers', 'librosa'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_stage_is_named_with_those_there_are() -> None:
    with pytest.raises(NotFound, match="no stage 'sampel'; there are encode_prompt, encode_lyrics"):
        stage_class("sampel")


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        ("encode_lyrics", "adapter"),
        ("sample", "adapter"),
        ("repaint", "adapter"),
        ("edit", "adapter"),
        ("sample", "control_branch"),
    ],
)
def test_parameters_that_may_name_a_folder_say_so(stage: str, name: str) -> None:
    """By this the reader of graphs refuses paths that a stranger wrote into a graph."""
    assert stages()[stage].inputs()[name].schema["format"] == "path"
