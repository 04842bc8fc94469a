"""v1's Python call, in this process: the pipeline that programs written for v1 make and call."""

from __future__ import annotations

import gc
import inspect
import time
import warnings
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from acestep_flows.api.http.model_card import ModelCard
from acestep_flows.compat.fields import Draft
from acestep_flows.compat.v1.call import PARAMETERS, PipelineCall, song_paths
from acestep_flows.compat.v1.metadata import parameters, write
from acestep_flows.errors import InputError
from acestep_flows.session import RunResult, Session

SIGNATURE = inspect.Signature(
    [
        inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        *(
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
            for name, default in PARAMETERS.items()
        ),
    ]
)

DTYPES = {"bfloat16": "auto", "float32": "float32"}
"""v1's names and ours. Without a GPU, `auto` computes in float32, as v1 does there."""

NOT_DONE: Mapping[str, str] = {
    "text_encoder_checkpoint_path": "the text encoder lies with the other weights",
    "cpu_offload": "the weights stay where they are",
    "quantized": "the weights are used as they are",
    "overlapped_decode": "songs are decoded in pieces where they need to be",
}
"""Options of v1 without an effect here: what is so instead."""


class PipelineWarning(UserWarning):
    """Something was done otherwise than the caller of v1's pipeline asked."""


class ACEStepPipeline:
    """v1's pipeline over a `Session`. The model is loaded by the first call, or by `load_checkpoint`.

    Args:
        checkpoint_dir: a folder with weights in the published layout. None, empty or missing: what `Session` finds,
            which a warning tells.
        device_id: the GPU, where there are several.
        dtype: bfloat16 (float32 without a GPU) or float32.
        text_encoder_checkpoint_path, cpu_offload, quantized, overlapped_decode: no effect, told in a warning.
        persistent_storage_path: a folder whose `checkpoints` has the weights if `checkpoint_dir` is not given.
        torch_compile: compile the denoiser.
        ignored: other options, told in a warning.

    Attributes:
        loaded: whether the model is ready.
    """

    def __init__(
        self,
        checkpoint_dir: str | PathLike[str] | None = None,
        device_id: int = 0,
        dtype: str = "bfloat16",
        text_encoder_checkpoint_path: str | PathLike[str] | None = None,
        persistent_storage_path: str | PathLike[str] | None = None,
        torch_compile: bool = False,
        cpu_offload: bool = False,
        quantized: bool = False,
        overlapped_decode: bool = False,
        **ignored: Any,
    ) -> None:
        if not checkpoint_dir and persistent_storage_path:
            checkpoint_dir = Path(persistent_storage_path) / "checkpoints"
        self.checkpoint_dir, self.torch_compile = checkpoint_dir, torch_compile
        self.device_id, self.dtype = device_id, dtype
        self._session: Session | None = None
        self._card = ModelCard()
        self._adapter: dict[str, Any] = {}
        given = {
            "text_encoder_checkpoint_path": text_encoder_checkpoint_path,
            "cpu_offload": cpu_offload,
            "quantized": quantized,
            "overlapped_decode": overlapped_decode,
        }
        for name, done in NOT_DONE.items():
            if given[name]:
                _warn(f"{name}={given[name]!r}: {done}")
        for name, value in ignored.items():
            _warn(f"{name}={value!r}: not known here, ignored")

    @property
    def loaded(self) -> bool:
        """Whether the model is ready."""
        return self._session is not None

    def load_checkpoint(self, checkpoint_dir: str | PathLike[str] | None = None) -> None:
        """Open the weights, another folder's in place of those that were open.

        Raises:
            CheckpointError: a file is missing, truncated or not the one expected.
            InputError: the device is not there, or an option is wrong.
        """
        given = checkpoint_dir or self.checkpoint_dir
        folder = Path(given).expanduser() if given else None
        weights = folder if folder is not None and folder.is_dir() and any(folder.iterdir()) else None
        dtype = str(self.dtype).removeprefix("torch.")
        if dtype not in DTYPES:
            _warn(f"dtype={dtype!r}: bfloat16 is used where there is a GPU, else float32")
        device = f"cuda:{self.device_id}" if self.device_id else "auto"
        session = Session(weights, device, DTYPES.get(dtype, "auto"), compile=bool(self.torch_compile))
        if weights is None:
            why = f"{folder}: no weights there" if folder else "no checkpoint_dir"
            _warn(f"{why}; used instead: {session.weights}")
        self.close()
        self._session, self._card = session, _card(session)

    def load_lora(self, lora_name_or_path: str, lora_weight: float = 1.0) -> None:
        """Use an adapter in calls that name none."""
        self._adapter = {"lora_name_or_path": lora_name_or_path, "lora_weight": lora_weight}

    def cleanup_memory(self) -> None:
        """Free what nobody refers to any more. The model stays."""
        gc.collect()

    def close(self) -> None:
        """Let go of the model. The next call loads it again."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def __call__(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Make songs. The parameters, their order and their defaults are v1's (`inspect.signature`).

        Returns:
            The path of each song, and the parameters that they were made with.

        Raises:
            InputError: arguments are wrong; each is named.
            FlowsError: as `Session.run`.
        """
        try:
            sent = dict(SIGNATURE.bind(self, *args, **kwargs).arguments)
        except TypeError as error:
            raise InputError(str(error), where="arguments", allowed=", ".join(PARAMETERS)) from None
        del sent["self"]
        if self._session is None:
            self.load_checkpoint()
        assert self._session is not None
        if "lora_name_or_path" not in sent:
            sent = {**sent, **self._adapter}
        call = PipelineCall(sent, Draft(model=self._card), _seconds)
        songs = call.songs()
        for line in songs[0].warnings:
            _warn(line)
        targets = song_paths(
            sent.get("save_path") and str(call.value("save_path")),
            call.draft.format,
            call.draft.format == PARAMETERS["format"],
            call.count,
            f"output_{time.strftime('%Y%m%d%H%M%S')}",
        )
        results = []
        for song in songs:
            try:
                results.append(self._session.run(song.graph, inputs=song.inputs))
            except InputError as error:
                raise song.in_client_words(error) from None
        return self._saved(call, results, targets)

    def _saved(self, call: PipelineCall, results: list[RunResult], targets: list[Path]) -> list[Any]:
        params = parameters(call, results, self._card.sampling)
        written: list[Any] = []
        for result, target in zip(results, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            written.append(str(result.audio.save(target)))
            params = write(params, target)
        return [*written, params]


ACEStepPipeline.__call__.__signature__ = SIGNATURE  # type: ignore[attr-defined]  # functions take one


def _warn(line: str) -> None:
    warnings.warn(line, PipelineWarning, stacklevel=3)


def _seconds(path: str) -> float:
    from acestep_flows.audio import read

    return read.describe(path).seconds


def _card(session: Session) -> ModelCard:
    """The name of a session's model, and its own values of sampling."""
    from acestep_flows.stages.diffusion import sampler_options

    own = sampler_options(session.weights.open(), {}).model_dump(mode="json")
    return ModelCard(session.weights.model, sampling=own)
