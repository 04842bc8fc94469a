"""v1's pipeline with acestep-nano in this process, and programs that were written for it."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from acestep_flows.compat.v1 import ACEStepPipeline, DataSampler
from acestep_flows.compat.v1.__main__ import main
from acestep_flows.compat.v1.call import PARAMETERS
from acestep_flows.compat.v1.pipeline import PipelineWarning
from acestep_flows.errors import InputError
from acestep_flows.recipes.read import read_recipe_file
from acestep_flows.recipes.upstream import SUFFIX
from tests.compat.songs import SECONDS, STEPS

SHORT: dict[str, Any] = {"prompt": "lofi, 夜", "audio_duration": SECONDS, "infer_step": STEPS}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ACEStepPipeline]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACESTEP_FLOWS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("ACESTEP_FLOWS_CHECKPOINT", raising=False)
        made = ACEStepPipeline()
        loaded = [made.loaded]
        with pytest.warns(PipelineWarning, match="no checkpoint_dir; used instead: acestep-nano"):
            made.load_checkpoint()
        assert [*loaded, made.loaded] == [False, True]
        yield made
        made.close()


def test_the_call_has_the_parameters_of_v1() -> None:
    signature = inspect.signature(ACEStepPipeline.__call__)
    assert {name: one.default for name, one in list(signature.parameters.items())[1:]} == dict(PARAMETERS)
    assert next(iter(PARAMETERS)) == "format"


def test_songs_and_their_parameters_are_written(pipeline: ACEStepPipeline, tmp_path: Path) -> None:
    with pytest.warns(PipelineWarning, match="guidance_scale=7: used; this model's own value is 3"):
        one, two, params = pipeline(
            "flac",
            SECONDS,
            "lofi, 夜",
            "",
            STEPS,
            7.0,
            manual_seeds="7, 8",
            save_path=str(tmp_path / "new" / "song.wav"),
        )
    assert [one, two] == [str(tmp_path / "new" / f"song_{number}.flac") for number in (0, 1)]
    assert soundfile.info(one).duration == pytest.approx(SECONDS, abs=0.1)
    assert (params["actual_seeds"], params["prompt"], params["audio_path"]) == ([7, 8], "lofi, 夜", two)
    assert (params["guidance_scale"], params["infer_step"], params["scheduler_type"]) == (7.0, STEPS, "euler")
    assert params["timecosts"]["diffusion"] > 0
    text = Path(one).with_name(f"song_0{SUFFIX}").read_text(encoding="utf-8")
    assert "夜" in text
    assert json.loads(text) == {**params, "audio_path": one}
    recipe = read_recipe_file(Path(one).with_name(f"song_0{SUFFIX}"))
    assert (recipe.graph, recipe.inputs["seed"], recipe.inputs["tags"]) == ("text2music", 7, "lofi, 夜")
    assert not [line for line in recipe.warnings if "not parameters of v1" in line]


def test_the_same_seed_is_the_same_song(pipeline: ACEStepPipeline, tmp_path: Path) -> None:
    paths = [pipeline(**SHORT, manual_seeds=[7], save_path=str(tmp_path / name))[0] for name in ("a.wav", "b")]
    assert [Path(path).name for path in paths] == ["a.wav", "b.wav"]
    first, second = (soundfile.read(path)[0] for path in paths)
    assert (first == second).all()


def test_a_song_is_changed_from_its_file(pipeline: ACEStepPipeline, tmp_path: Path) -> None:
    source = pipeline(**SHORT, manual_seeds=7, save_path=str(tmp_path / "source.wav"))[0]
    own = {"prompt": "jazz", "infer_step": STEPS, "save_path": str(tmp_path / "x.wav")}
    lengths = {
        "repaint": (SECONDS, {"src_audio_path": source, "repaint_end": 1}),
        "extend": (SECONDS + 1, {"src_audio_path": source, "repaint_end": SECONDS + 1}),
        "edit": (SECONDS, {"src_audio_path": source, "edit_target_prompt": "rock"}),
        "audio2audio": (SECONDS, {"audio2audio_enable": True, "ref_audio_input": source}),
    }
    for task, (seconds, sent) in lengths.items():
        path, params = pipeline(**own, **sent, task=task)
        assert soundfile.info(path).duration == pytest.approx(seconds, abs=0.1), task
        assert params["task"] == task
    assert params["prompt"] == "jazz"


def test_what_is_wrong_is_named(pipeline: ACEStepPipeline) -> None:
    with pytest.raises(InputError, match=r"infer_step: .*, batch_size: |infer_step.*batch_size") as refused:
        pipeline(prompt="x", infer_step=0, batch_size=0)
    assert [fault.field for fault in refused.value.faults] == ["infer_step", "batch_size"]
    with pytest.raises(InputError, match="colour"):
        pipeline(prompt="x", colour="blue")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cpu_offload": True}, "cpu_offload=True"),
        ({"quantized": True}, "quantized=True"),
        ({"overlapped_decode": True}, "overlapped_decode=True"),
        ({"text_encoder_checkpoint_path": "x"}, "text_encoder_checkpoint_path='x'"),
        ({"colour": "blue"}, "colour='blue': not known here"),
    ],
)
def test_options_without_an_effect_are_told(options: dict[str, Any], said: str) -> None:
    with pytest.warns(PipelineWarning, match=said):
        ACEStepPipeline(**options)


def test_usual_options_are_not_told() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ACEStepPipeline("", 0, "bfloat16", None, None, False, False, False, False).cleanup_memory()


def test_an_adapter_that_was_loaded_is_used(pipeline: ACEStepPipeline, tmp_path: Path) -> None:
    pipeline.load_lora(str(tmp_path / "no-such-adapter"), 0.5)
    try:
        with pytest.raises(Exception, match="no-such-adapter"):
            pipeline(**SHORT, save_path=str(tmp_path / "x.wav"))
        assert pipeline(**SHORT, lora_name_or_path="none", save_path=str(tmp_path / "x.wav"))
    finally:
        pipeline.load_lora("none")


def test_an_example_has_what_a_call_takes(tmp_path: Path) -> None:
    example = DataSampler().sample()
    assert {"prompt", "lyrics", "audio_duration", "actual_seeds", "oss_steps", "use_erg_tag"} <= example.keys()
    assert DataSampler().sample("rap")["lora_name_or_path"] == "rap"
    (tmp_path / "one.json").write_text('{"prompt": "mine"}')
    assert DataSampler(str(tmp_path)).sample() == {"prompt": "mine"}
    with pytest.raises(InputError):
        DataSampler(tmp_path / "nothing")


PROGRAM = """
import argparse, sys
from acestep.pipeline_ace_step import ACEStepPipeline
from acestep.data_sampler import DataSampler
import beside

parser = argparse.ArgumentParser()
parser.add_argument("--output_path")
given = parser.parse_args()
example = DataSampler().sample()
pipeline = ACEStepPipeline(checkpoint_dir="", dtype="bfloat16", torch_compile=False)
pipeline(
    audio_duration=1.0,
    prompt=example["prompt"],
    lyrics=example["lyrics"],
    infer_step=2,
    guidance_scale=example["guidance_scale"],
    scheduler_type=example["scheduler_type"],
    cfg_type=example["cfg_type"],
    omega_scale=example["omega_scale"],
    manual_seeds=", ".join(map(str, example["actual_seeds"])),
    oss_steps=", ".join(map(str, example["oss_steps"])),
    save_path=given.output_path,
)
"""


def test_a_program_for_v1_runs_unchanged(tmp_path: Path) -> None:
    (tmp_path / "infer.py").write_text(PROGRAM)
    (tmp_path / "beside.py").write_text("")
    command = [sys.executable, "-m", "acestep_flows.compat.v1", str(tmp_path / "infer.py")]
    ended = subprocess.run(
        [*command, "--output_path", str(tmp_path / "out" / "song.wav")], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert soundfile.info(tmp_path / "out" / "song.wav").duration == pytest.approx(1.0, abs=0.1)
    assert (tmp_path / "out" / f"song{SUFFIX}").is_file()


def test_v1s_modules_are_answered_for_only_while_a_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["x"])
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    script = tmp_path / "script.py"
    script.write_text("import sys, acestep.data_sampler\nprint(sys.argv[1:], __name__)\nsys.exit(3)\n")
    with pytest.raises(SystemExit, match="3"):
        main([str(script), "a"])
    assert capsys.readouterr().out == "['a'] __main__\n"
    assert "acestep" not in sys.modules
    script.write_text("from acestep.pipeline_ace_step import ACEStepPipeline as P\nP()(prompt='x', infer_step=0)\n")
    with pytest.warns(PipelineWarning, match="used instead"):
        assert main([str(script)]) == 1
    assert capsys.readouterr().err.startswith("error: infer_step: 0")
    assert main([str(tmp_path / "none.py")]) == 2
    assert main([]) == 2
