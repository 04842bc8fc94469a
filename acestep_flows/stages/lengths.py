"""How long a song is made for the seconds asked: whole latent frames, as many as fit or as many as cover them."""

from __future__ import annotations

from acestep_flows.stages.advised_warning import AdvisedWarning
from acestep_flows.values import OUTPUT_RATE, frames_from_seconds, seconds_from_frames


def frames_covering(seconds: float) -> int:
    """The fewest latent frames that last `seconds` or longer."""
    frames = frames_from_seconds(seconds)
    return frames if seconds_from_frames(frames) >= seconds else frames + 1


def frames_to_make(seconds: float, exact: bool) -> int:
    """Latent frames to make for `seconds`: as many as fit, like upstream, or as many as cover them."""
    return frames_covering(seconds) if exact else frames_from_seconds(seconds)


def length_warning(seconds: float, exact: bool) -> AdvisedWarning | None:
    """What to say where the frames to make are shorter than `seconds` by a sample or more; None where they are not."""
    made = seconds_from_frames(frames_to_make(seconds, exact))
    if seconds - made < 1 / OUTPUT_RATE:
        return None
    short = f"{made:.2f} s of the {seconds:g} s asked, in whole frames"
    return AdvisedWarning(short, "exact_length=true makes all of it", "exact_length")
