"""Songs as HTML for notebooks: a player and a picture, both inside the page."""

from __future__ import annotations

import base64
import html

from acestep_flows.values import Audio

PICTURE_WIDTH = 750  # pixels on the page; the picture has twice as many


def song_html(audio: Audio, title: str) -> str:
    """A player (MP3) and a picture (PNG) of `audio`, as HTML that needs no other file."""
    from acestep_flows.audio import picture, write
    from acestep_flows.audio.formats import FORMATS
    from acestep_flows.audio.tags import Tags

    if audio.samples.shape[1] == 0:
        return f"<div>{html.escape(title)}: no samples</div>"
    sound = write.encode(audio, FORMATS["mp3"], subtype=None, tags=Tags(title=title)).content
    return (
        f'<div><audio controls preload="metadata" src="{_data_url("audio/mpeg", sound)}"></audio><br>'
        f'<img width="{PICTURE_WIDTH}" alt="{html.escape(title)}: waveform and spectrogram" '
        f'src="{_data_url("image/png", picture.png(audio, title))}"></div>'
    )


def _data_url(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
