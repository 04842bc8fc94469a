"""Paint a span of a song anew, or continue it on either side (spec 02 sections 5.3 and 5.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from acestep_flows.errors import InputError
from acestep_flows.stages.diffusion import DiffusionParams, DiffusionStage, latents_of
from acestep_flows.stages.lengths import frames_to_make, length_warning
from acestep_flows.values import (
    Latents,
    LyricStates,
    Noise,
    PromptStates,
    Report,
    Span,
    frames_from_seconds,
    seconds_from_frames,
)

if TYPE_CHECKING:
    from acestep_flows.sampling.branches import Branches
    from acestep_flows.sampling.trajectory import State, Trajectory


class Repaint(DiffusionStage):
    """Paint a span anew and leave the rest exactly as it is; or extend the song on the left, the right, or both."""

    name, version = "repaint", 1

    @dataclass(frozen=True)
    class In:
        prompt: PromptStates
        lyrics: LyricStates
        source: Latents
        noise: Noise

    class Params(DiffusionParams):
        span: Span | None = Field(None, description="What to paint anew, in seconds; absent when extending.")
        left: float = Field(0.0, ge=0, le=240, description="Seconds to add before the song.")
        right: float = Field(0.0, ge=0, le=240, description="Seconds to add after the song.")
        exact_length: bool = Field(
            False,
            description="Add a frame more where whole frames fall short, to cut the song to the sample; another song.",
        )
        longest: float | None = Field(
            None, gt=0, description="Refuse to make more seconds than these, the song included; absent: any length."
        )
        added_later = frozenset({"exact_length"})

        def key_content(self) -> dict[str, Any]:
            """Without `longest`, which refuses songs and changes none."""
            return {name: part for name, part in super().key_content().items() if name != "longest"}

        @model_validator(mode="after")
        def _one_task(self) -> Self:
            if (self.span is None) == (self.left == self.right == 0):
                raise InputError("needs either a span to paint or seconds to add", where="repaint.span")
            return self

    @dataclass(frozen=True)
    class Out:
        latents: Latents
        report: Report
        offset: float = field(metadata={"description": "Second of the result at which the source starts."})

    @classmethod
    def warnings(cls, params: Params) -> tuple[str, ...]:
        sides = {side: length_warning(getattr(params, side), params.exact_length) for side in ("left", "right")}
        return tuple(warning.of(side) for side, warning in sides.items() if warning is not None)

    def branches(self, item: In, params: Params) -> Branches:
        from acestep_flows.sampling.branches import song_branches

        return song_branches(item.prompt, item.lyrics, self.options(params))

    def trajectory(self, item: In, params: Params) -> Trajectory:
        return self._extension(item, params) if params.span is None else self._painting(item, params, params.span)

    def _painting(self, item: In, params: Params, span: Span) -> Trajectory:
        import torch

        from acestep_flows.sampling.noise import SeededDraws
        from acestep_flows.sampling.repaint import repaint

        source, noise = item.source, item.noise
        frames = span_frames(span, source)
        if noise.retake is None:
            raise InputError("noise without a retake", where="repaint.noise", allowed="init_noise with a variance")
        return repaint(
            torch.tensor(source.array),
            torch.tensor(noise.array),
            torch.tensor(noise.retake),
            frames,
            noise.variance,
            self.options(params),
            SeededDraws.following(noise),
        )

    def _extension(self, item: In, params: Params) -> Trajectory:
        import torch

        from acestep_flows.sampling.extend import extend, retake_frames
        from acestep_flows.sampling.noise import SeededDraws, draw

        source, noise = item.source, item.noise
        left, right = (frames_to_make(part, params.exact_length) for part in (params.left, params.right))
        if noise.retake_seed is None:
            raise InputError("noise without a retake", where="repaint.noise", allowed="init_noise with a variance")
        seconds = seconds_from_frames(left + source.frames + right)
        if params.longest is not None and seconds > params.longest + seconds_from_frames(1):
            what = f"{source.seconds:.2f} s of music would become {seconds:.2f} s"
            allowed = f"{params.longest:g} s in all; the graph long-form makes longer songs"
            raise InputError(what, where="repaint.longest", allowed=allowed)
        retake = draw(noise.retake_seed, retake_frames(source.frames, left, right))
        return extend(
            torch.tensor(source.array),
            torch.tensor(noise.array),
            torch.tensor(retake),
            left,
            right,
            self.options(params),
            SeededDraws.following(noise),
            noise.variance,
        )

    def finish(self, item: In, params: Params, trajectory: Trajectory, state: State) -> Out:
        from acestep_flows.audio import locality

        latents = latents_of(trajectory, state)
        left = frames_to_make(params.left, params.exact_length)
        # In an extension no frame of the source should change.
        change = locality.latents(item.source, latents, params.span, offset=left)
        entries = {
            "task": "repaint" if params.span is not None else "extend",
            "seconds": latents.seconds,
            "steps": state.step,
            "guidance": self.guidance(params),
            "seed": item.noise.seed,
            "retake_seed": item.noise.retake_seed,
            "variance": item.noise.variance,
            "locality": change.entries(),
            "warnings": [*item.prompt.warnings, *item.lyrics.skipped],
        }
        return self.Out(latents, Report(entries), seconds_from_frames(left))


def span_frames(span: Span, source: Latents) -> tuple[int, int]:
    """The first latent frame of `span` and the one after its last, both truncated (spec 02 section 5.3).

    Raises:
        InputError: the span reaches past the end, or is shorter than a frame.
    """
    # Encoding rounds up to whole frames and decoding keeps them, so the song may end within its last frame.
    end = min(frames_from_seconds(span.end), source.frames)
    if span.end > source.seconds + 1e-6:
        raise InputError(
            f"{span.start:g} to {span.end:g} s", where="span", allowed=f"within 0 to {source.seconds:.2f} s"
        )
    start = frames_from_seconds(span.start)
    if end <= start:
        raise InputError(f"{span.start:g} to {span.end:g} s", where="span", allowed="at least one frame (0.093 s)")
    return start, end
