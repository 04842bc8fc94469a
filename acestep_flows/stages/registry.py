"""All stages, by name. Listing them imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from acestep_flows.errors import NotFound
from acestep_flows.stages.contract import Stage


@cache
def stages() -> Mapping[str, type[Stage]]:
    """Stage classes by the name used in graphs."""
    from acestep_flows.stages.beat import Beat
    from acestep_flows.stages.compare import Compare
    from acestep_flows.stages.decode_latents import DecodeLatents
    from acestep_flows.stages.edit import Edit
    from acestep_flows.stages.encode_audio import EncodeAudio
    from acestep_flows.stages.encode_lyrics import EncodeLyrics
    from acestep_flows.stages.encode_prompt import EncodePrompt
    from acestep_flows.stages.export import Export
    from acestep_flows.stages.init_noise import InitNoise
    from acestep_flows.stages.join import Join
    from acestep_flows.stages.keep_outside import KeepOutside
    from acestep_flows.stages.measure import Measure
    from acestep_flows.stages.mix import Mix
    from acestep_flows.stages.pick_best import Pick
    from acestep_flows.stages.repaint import Repaint
    from acestep_flows.stages.sample import Sample
    from acestep_flows.stages.trim import Trim
    from acestep_flows.stages.vocode import Vocode

    classes: tuple[type[Stage], ...] = (
        EncodePrompt, EncodeLyrics, InitNoise, EncodeAudio, Beat, Sample, Repaint, Edit, DecodeLatents, Vocode,
        KeepOutside, Mix, Trim, Join, Measure, Compare, Pick, Export,
    )  # fmt: skip
    return MappingProxyType({stage.name: stage for stage in classes})


def stage_class(name: str) -> type[Stage]:
    """The class of stage `name`.

    Raises:
        NotFound: there is no such stage.
    """
    try:
        return stages()[name]
    except KeyError:
        raise NotFound(f"no stage {name!r}; there are {', '.join(stages())}") from None
