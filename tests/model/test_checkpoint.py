"""Opening a checkpoint: every missing, truncated or mismatched file is named before anything is loaded."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from acestep_flows.errors import CheckpointError
from acestep_flows.model.checkpoint import LYRIC_VOCAB, PARTS, Checkpoint, part_files, weights_file
from acestep_flows.model.layout import AUTOENCODER, TEXT_ENCODER, TRANSFORMER, VOCODER
from tests.model.small import edit_json, small_checkpoint, small_folder, write_weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_folder(), tmp_path / "copy"))


def refusal(folder: Path, **options: Any) -> str:
    """The error, one line, of opening `folder`, with the folder's path as DIR."""
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.open(folder, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(folder), "DIR")


def test_a_complete_checkpoint_opens() -> None:
    checkpoint = small_checkpoint()
    assert checkpoint.config(AUTOENCODER)["_class_name"] == "AutoencoderDC"
    assert checkpoint.shapes(VOCODER)["mel_transform.mel_scale.fb"] == (1025, 128)
    assert checkpoint.lyric_vocab == small_folder() / "lyric-vocab.json"


def test_opening_imports_no_torch() -> None:
    code = (
        "import sys; from acestep_flows.model.checkpoint import Checkpoint; Checkpoint.open(sys.argv[1])\n"
        "assert not {'torch', 'transformers', 'diffusers'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(small_folder())], check=True)


def test_no_such_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere") == (
        "DIR: no such folder (allowed: a folder with ace_step_transformer, music_dcae_f8c8, music_vocoder, umt5-base; "
        "`acestep-flows fetch` downloads the published model)"
    )


@pytest.mark.parametrize(("part", "file"), [(part, file) for part in PARTS for file in part_files(part)])
def test_a_missing_file_is_named(folder: Path, part: str, file: str) -> None:
    (folder / part / file).unlink()
    assert refusal(folder) == (
        f"DIR: no file {part}/{file} "
        "(allowed: a complete checkpoint; `acestep-flows fetch` downloads the published model)"
    )


def test_all_missing_files_are_named_at_once(folder: Path) -> None:
    shutil.rmtree(folder / VOCODER)
    (folder / TEXT_ENCODER / "tokenizer.json").unlink()
    assert refusal(folder).startswith(
        "DIR: no file music_vocoder/config.json, music_vocoder/diffusion_pytorch_model.safetensors, "
        "umt5-base/tokenizer.json (allowed"
    )


def test_a_truncated_file_is_named_with_both_sizes(folder: Path) -> None:
    file = folder / TRANSFORMER / weights_file(TRANSFORMER)
    whole = file.stat().st_size
    with file.open("r+b") as stream:
        stream.truncate(whole - 1000)
    assert refusal(folder) == (
        f"DIR/ace_step_transformer/diffusion_pytorch_model.safetensors: truncated: {whole - 1000} bytes "
        f"(allowed: {whole} bytes)"
    )


def test_a_file_with_appended_bytes_is_refused(folder: Path) -> None:
    file = folder / VOCODER / weights_file(VOCODER)
    whole = file.stat().st_size
    with file.open("ab") as stream:
        stream.write(b"\0")
    assert f"too long: {whole + 1} bytes (allowed: {whole} bytes)" in refusal(folder)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not a safetensors file"),
        (b"1234567", "not a safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not a safetensors file"),
        (b"\0" * 64, "not a safetensors file"),
        ((1000).to_bytes(8, "little") + b"{", "truncated: 9 bytes, the header alone has 1008"),
        ((4).to_bytes(8, "little") + b"abcd", "damaged: the safetensors header does not parse"),
        ((2).to_bytes(8, "little") + b"[]", "damaged: the safetensors header does not parse"),
        ((8).to_bytes(8, "little") + b'{"a":{}}', "damaged: the safetensors header does not parse"),
    ],
)
def test_a_file_that_is_not_safetensors_is_refused(folder: Path, content: bytes, problem: str) -> None:
    (folder / AUTOENCODER / weights_file(AUTOENCODER)).write_bytes(content)
    assert refusal(folder) == f"DIR/music_dcae_f8c8/diffusion_pytorch_model.safetensors: {problem}"


@pytest.mark.parametrize("content", [b"", b"not json", b"\xff"])
def test_a_config_that_is_not_json_is_refused(folder: Path, content: bytes) -> None:
    (folder / VOCODER / "config.json").write_bytes(content)
    assert refusal(folder).startswith("DIR/music_vocoder/config.json: not readable as JSON: ")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda config: config.update(_class_name="HiFiGAN"),
            "class 'HiFiGAN' (allowed: ADaMoSHiFiGANV1 or SpectralVocoder)",
        ),
        (lambda config: config.pop("_class_name"), "class '' (allowed: ADaMoSHiFiGANV1 or SpectralVocoder)"),
        (lambda config: config.pop("dims"), "no entry 'dims'"),
        (lambda config: config.update(dims="wide"), "sizes that fit no ADaMoSHiFiGANV1: "),
        (lambda config: config.update(depths=[1]), "sizes that fit no ADaMoSHiFiGANV1: "),
    ],
)
def test_a_config_of_another_class_or_size_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], problem: str
) -> None:
    edit_json(folder / VOCODER / "config.json", change)
    assert refusal(folder).startswith(f"DIR/music_vocoder/config.json: {problem}")


def test_both_class_names_of_the_transformer_are_accepted(folder: Path) -> None:
    edit_json(folder / TRANSFORMER / "config.json", lambda config: config.update(_class_name="Transformer2DModel"))
    Checkpoint.open(folder)


def test_mismatched_tensors_are_named_with_the_expected_shape(folder: Path) -> None:
    tensors = small_checkpoint().load(VOCODER)
    del tensors["head.conv_post.bias"]
    tensors["head.conv_pre.bias"] = torch.zeros(3)
    tensors["tail.weight"] = torch.zeros(1)
    write_weights(folder / VOCODER / weights_file(VOCODER), tensors)
    assert refusal(folder) == (
        "DIR/music_vocoder/diffusion_pytorch_model.safetensors: missing head.conv_post.bias; unknown tail.weight; "
        "head.conv_pre.bias of shape [3] instead of [32] "
        "(allowed: the tensors that music_vocoder/config.json implies)"
    )


def test_a_long_list_of_mismatches_is_counted(folder: Path) -> None:
    edit_json(folder / VOCODER / "config.json", lambda config: config.update(upsample_initial_channel=64))
    message = refusal(folder)
    assert "head.conv_pre.weight_g of shape [32, 1, 1] instead of [64, 1, 1], " in message
    assert message.count("instead of") == 3
    assert " more (allowed" in message
    assert len(message) < 500


def test_tensors_that_inference_never_reads_may_be_absent(folder: Path) -> None:
    tensors = small_checkpoint().load(TRANSFORMER)
    lean = {
        name: tensor for name, tensor in tensors.items() if not name.startswith("projectors.") and ".add_" not in name
    }
    assert len(lean) < len(tensors)
    write_weights(folder / TRANSFORMER / weights_file(TRANSFORMER), lean)
    Checkpoint.open(folder)


def test_a_second_copy_of_the_token_embedding_is_accepted(folder: Path) -> None:
    tensors = small_checkpoint().load(TEXT_ENCODER)
    tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"].clone()
    write_weights(folder / TEXT_ENCODER / weights_file(TEXT_ENCODER), tensors)
    Checkpoint.open(folder)


def test_load_reads_only_the_named_tensors_in_the_given_dtype() -> None:
    checkpoint = small_checkpoint()
    names = ["head.conv_pre.bias", "head.conv_post.bias"]
    assert list(checkpoint.load(VOCODER, names)) == names
    assert all(name.startswith("backbone.norm.") for name in checkpoint.load(VOCODER, prefix="backbone.norm."))
    assert set(checkpoint.load(VOCODER)) == set(checkpoint.shapes(VOCODER))
    for dtype in ("float32", "bfloat16"):
        (tensor,) = checkpoint.load(VOCODER, names[:1], dtype=dtype).values()
        assert tensor.dtype == getattr(torch, dtype)


def test_load_refuses_unknown_names() -> None:
    with pytest.raises(CheckpointError, match=r"no tensor head\.tail"):
        small_checkpoint().load(VOCODER, ["head.tail"])


def test_load_refuses_a_file_that_was_replaced(folder: Path) -> None:
    checkpoint = Checkpoint.open(folder)
    file = folder / VOCODER / weights_file(VOCODER)
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="changed since it was opened"):
        checkpoint.load(VOCODER)
    file.unlink()
    with pytest.raises(CheckpointError, match="changed since it was opened"):
        checkpoint.load(VOCODER)


def disguise(file: Path, change: Callable[[bytes], bytes]) -> None:
    """Put a file with other content in the place of `file`, of equal size and modification time."""
    stamp, other = file.stat(), file.with_suffix(".new")
    other.write_bytes(change(file.read_bytes()))
    assert other.stat().st_size == stamp.st_size
    os.utime(other, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    other.replace(file)


def last_byte_flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def test_weights_replaced_by_others_of_equal_size_and_time_are_noticed(folder: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(folder, cache=tmp_path / "cache")
    told = checkpoint.digest(VOCODER)
    disguise(folder / VOCODER / weights_file(VOCODER), last_byte_flipped)
    with pytest.raises(CheckpointError, match="changed since it was opened"):
        checkpoint.load(VOCODER)
    with pytest.raises(CheckpointError, match="changed since it was opened"):
        checkpoint.digest(VOCODER)  # what the loaded network makes is not what these weights make
    assert Checkpoint.open(folder, cache=tmp_path / "cache").digest(VOCODER) != told


def test_weights_that_were_only_linked_or_copied_go_on_loading(folder: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(folder)
    told = checkpoint.digest(VOCODER)
    os.link(folder / VOCODER / weights_file(VOCODER), tmp_path / "backup")
    disguise(folder / VOCODER / weights_file(VOCODER), bytes)
    assert checkpoint.load(VOCODER)
    assert checkpoint.digest(VOCODER) == told


def test_an_adapter_replaced_by_another_of_equal_size_and_time_has_another_digest(folder: Path) -> None:
    adapter = folder / "adapters" / "voice" / "pytorch_lora_weights.safetensors"
    adapter.parent.mkdir(parents=True, exist_ok=True)
    adapter.write_bytes(b"any content")
    checkpoint = Checkpoint.open(folder)
    told = checkpoint.extra_digest("adapters", "voice")
    disguise(adapter, last_byte_flipped)
    assert checkpoint.extra_digest("adapters", "voice") != told


def test_the_digest_depends_on_every_file_of_the_part_and_no_other(folder: Path) -> None:
    before = {part: Checkpoint.open(folder).digest(part) for part in (*PARTS, LYRIC_VOCAB)}
    assert before == {part: small_checkpoint().digest(part) for part in before}
    assert len(set(before.values())) == len(before)
    edit_json(folder / TEXT_ENCODER / "tokenizer.json", lambda content: content.update(version="1.0 "))
    after = {part: Checkpoint.open(folder).digest(part) for part in before}
    assert [part for part in before if before[part] != after[part]] == [TEXT_ENCODER]


def test_a_given_vocabulary_takes_precedence_over_the_folders(folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(folder / "lyric-vocab.json", tmp_path / "vocab.json"))
    assert Checkpoint.open(folder, other).lyric_vocab == other
    assert Checkpoint.open(folder).lyric_vocab == folder / "lyric-vocab.json"


def test_a_missing_vocabulary_is_an_error_only_where_it_is_used(folder: Path) -> None:
    (folder / "lyric-vocab.json").unlink()
    checkpoint = Checkpoint.open(folder)
    with pytest.raises(CheckpointError, match="no lyric vocabulary .*acestep-flows fetch"):
        _ = checkpoint.lyric_vocab


def test_a_given_vocabulary_must_exist(folder: Path, tmp_path: Path) -> None:
    assert f"no file {tmp_path / 'none.json'}" in refusal(folder, lyric_vocab=tmp_path / "none.json")


def test_a_vocabulary_of_another_model_is_refused(folder: Path) -> None:
    edit_json(folder / "lyric-vocab.json", lambda content: content["model"]["vocab"].update(zzz=6692))
    assert refusal(folder).startswith("DIR/lyric-vocab.json: token ids up to 6692 (allowed: ids below ")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"model": {"vocab": []}}'])
def test_a_file_that_is_not_a_vocabulary_is_refused(folder: Path, content: bytes) -> None:
    (folder / "lyric-vocab.json").write_bytes(content)
    assert refusal(folder) == "DIR/lyric-vocab.json: not a tokenizer file (allowed: a `tokenizers` JSON file)"


def test_an_open_checkpoint_can_be_pickled() -> None:
    copy = pickle.loads(pickle.dumps(small_checkpoint()))
    assert copy.digest(VOCODER) == small_checkpoint().digest(VOCODER)
