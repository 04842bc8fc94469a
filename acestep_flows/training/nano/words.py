"""The words of acestep-nano's prompts: those of its training set, and common synonyms of them."""

from __future__ import annotations

from acestep_flows.training.synthesis import vocabulary

ALIASES: dict[str, str] = {
    alias: word
    for word, aliases in {
        # styles
        "house": "techno edm dance disco electro trance garage eurodance",
        "rock": "punk metal indie grunge alternative",
        "folk": "country americana bluegrass celtic songwriter",
        "jazz": "bebop blues bossa swing funk soul",
        "hip": "rap trap boombap lofi rnb drill",
        "orchestral": "classical symphonic soundtrack film orchestra score",
        "ambient": "drone chill chillout meditation newage soundscape",
        "synthwave": "retrowave vaporwave synthpop electronic pop 80s outrun",
        # voices and instruments
        "cappella": "acapella acappella capella",
        "vocal": "vocals voice voices singer singing sung",
        "female": "woman girl women",
        "male": "man boy men",
        "synth": "synths synthesizer synthesizers analog",
        "guitar": "guitars",
        "piano": "keys keyboard keyboards rhodes",
        "saxophone": "sax",
        "trumpet": "brass horn horns trumpets",
        "drums": "drum percussion beat beats",
        "strings": "string violins cello cellos",
        "bass": "bassline basslines",
        "double": "upright contrabass",
        "pad": "pads",
        "lead": "leads",
        "pluck": "plucks plucked",
        "flute": "flutes",
        # character
        "fast": "uptempo upbeat quick",
        "slow": "downtempo ballad",
        "calm": "mellow peaceful relaxing relaxed soft quiet",
        "dreamy": "ethereal atmospheric",
        "nostalgic": "sad melancholic melancholy wistful",
        "energetic": "happy joyful lively",
        "epic": "heroic dramatic",
        "powerful": "aggressive heavy loud",
        "instrumental": "inst",
    }.items()
    for alias in aliases.split()
}
"""Synonyms that share the token of the nearest word of the training set."""


TEMPOS = range(30, 301)
"""Tempos with a word of their own. Their embeddings are computed, so those beyond the training set mean something."""


def prompt_words() -> list[str]:
    """All words with a token of their own."""
    return sorted({*vocabulary(), "cappella", *(str(tempo) for tempo in TEMPOS)})
