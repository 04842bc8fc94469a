"""Audio that a request gives: to stay near, or to change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from acestep_flows.compat.exchange import Exchange


@dataclass(frozen=True)
class GivenAudio:
    """Audio of a request.

    Attributes:
        field: as the client named it.
        asset: its id: of audio, or of latents.
        seconds: its length.
        sound: the id of what latents sound like; empty without one.
    """

    field: str
    asset: str
    seconds: float
    sound: str = ""


async def given_audio(exchange: Exchange, value: Any, field: str, sound: Any = None) -> GivenAudio:
    """What a field says where audio is, as an asset of the caller (`Exchange.audio`).

    Args:
        sound: likewise of what latents sound like.
    """
    asset = await exchange.asset(await exchange.audio(value, field))
    heard = "" if sound is None else await exchange.audio(sound, field)
    return GivenAudio(field, asset.id, float(asset.details.get("seconds", 0.0)), heard)
