"""Presets of tags, and example songs, for people who begin. All of them are our own."""

from __future__ import annotations

from typing import Any

from acestep_flows.api.http.catalog_schemas import Example, Preset

NANO = "acestep-nano-1"

_GENERAL = {
    "Indie pop": "indie pop, jangly guitars, live drums, bass, bright, 118 bpm, female vocals, close harmonies",
    "Slow blues": "blues, overdriven electric guitar, hammond organ, brushed drums, late night, 64 bpm, male vocals",
    "Boom bap": "boom bap, dusty drum samples, upright bass, rhodes, vinyl crackle, 92 bpm, rap, confident",
    "Bluegrass": "bluegrass, banjo, fiddle, mandolin, double bass, lively, 132 bpm, vocal harmonies",
    "Deep house": "deep house, warm sub bass, soft pads, shuffled hi-hats, hypnotic, 122 bpm, instrumental",
    "Dub": "dub, heavy bass, spring reverb, tape echo, offbeat guitar, sparse drums, 74 bpm, instrumental",
    "String quartet": "chamber music, string quartet, expressive, rubato, intimate, instrumental",
    "Bossa nova": "bossa nova, nylon guitar, soft percussion, flute, relaxed, 126 bpm, breathy female vocals",
    "Post-rock": "post-rock, delayed guitars, slow build, loud climax, live drums, 98 bpm, instrumental",
    "Synth ballad": "synth pop, ballad, analog synths, gated drums, wistful, 84 bpm, male vocals",
}
_OF_NANO = {
    "House": "house, synth lead, synth pluck, synth bass, drums, 124 bpm, A minor, energetic",
    "Rock": "rock, electric guitar, guitar solo, bass guitar, drums, 132 bpm, E minor, driving",
    "Folk": "folk, acoustic guitar, violin, flute, 96 bpm, G major, warm",
    "Jazz": "jazz, piano, saxophone, double bass, drums, 120 bpm, F major, swinging",
    "Hip hop": "hip hop, electric piano, sub bass, drums, 88 bpm, D minor, laid back",
    "Orchestral": "orchestral, strings, trumpet, flute, 100 bpm, C minor, cinematic",
    "Ambient": "ambient, synth pad, piano, 70 bpm, D major, dreamy",
    "Synthwave": "synthwave, synth lead, synth pad, synth bass, drums, 108 bpm, A minor, retro",
}

PRESETS = (
    *(Preset(name=name, tags=tags, model=None) for name, tags in _GENERAL.items()),
    *(Preset(name=name, tags=tags, model=NANO) for name, tags in _OF_NANO.items()),
)


def _song(name: str, language: str, tags: str, lyrics: str, duration: float) -> Example:
    inputs: dict[str, Any] = {"tags": tags, "lyrics": lyrics, "duration": duration}
    return Example(name=name, graph="text2music", language=language, inputs=inputs)


EXAMPLES = (
    _song(
        "Last tram",
        "en",
        "folk, acoustic guitar, violin, warm, 96 bpm, female vocal",
        "[verse]\nThe last tram turns below the hill\nits windows full of light\n\n"
        "[chorus]\nCarry me over, carry me home\ncarry me out of the night",
        30,
    ),
    _song(
        "Salt and iron",
        "en",
        "rock, electric guitar, bass guitar, drums, driving, 132 bpm, male vocal",
        "[verse]\nSalt on the railing, iron in the rain\n\n[chorus]\nWe were louder than the sea",
        24,
    ),
    _song(
        "Schnee auf den D\u00e4chern",
        "de",
        "jazz, piano, double bass, drums, smooth, 110 bpm, female vocal",
        "[verse]\nSchnee auf den D\u00e4chern, die Stadt wird leise\n\n[chorus]\nBleib noch ein Lied lang hier",
        30,
    ),
    _song(
        "\u6708\u53f0",
        "zh",
        "synthwave, synth lead, synth pad, drums, nostalgic, 104 bpm, female vocal",
        "[verse]\n\u6708\u53f0\u4e0a\u7684\u706f\u4e00\u76cf\u4e00\u76cf\u4eae\u8d77\n\n"
        "[chorus]\n\u8bf7\u628a\u6211\u7684\u6b4c\u5e26\u5230\u5929\u660e",
        30,
    ),
    _song(
        "Der alte Hafen",
        "de",
        "folk, acoustic guitar, flute, warm, 88 bpm, male vocal",
        "[verse]\nDer alte Hafen riecht nach Teer und Regen\nein Licht geht aus, ein Licht geht an\n\n"
        "[chorus]\nFahr mit der Flut, fahr mit der Flut\nbis ich dich nicht mehr sehen kann",
        30,
    ),
    _song(
        "\u96e8\u540e",
        "zh",
        "jazz, piano, double bass, drums, relaxed, 92 bpm, female vocal",
        "[verse]\n\u96e8\u540e\u7684\u8857\u9053\u50cf\u4e00\u9762\u955c\u5b50\n"
        "\u6211\u4ece\u4f60\u7684\u8eab\u65c1\u8d70\u8fc7\n\n[chorus]\n\u522b\u56de\u5934\uff0c\u522b\u56de\u5934",
        24,
    ),
    _song("Night shift", "", "house, synth bass, synth pluck, drums, energetic, 124 bpm, instrumental", "[inst]", 20),
    _song("Slow water", "", "ambient, synth pad, piano, dreamy, 70 bpm, instrumental", "[inst]", 30),
    _song(
        "Gravel road", "", "rock, electric guitar, guitar solo, bass guitar, drums, 138 bpm, instrumental", "[inst]", 18
    ),
    _song("Paper lanterns", "", "orchestral, strings, flute, trumpet, cinematic, 84 bpm, instrumental", "[inst]", 30),
    _song(
        "Corner table", "", "jazz, saxophone, piano, double bass, drums, swinging, 128 bpm, instrumental", "[inst]", 24
    ),
    _song(
        "Second floor", "", "hip hop, electric piano, sub bass, drums, laid back, 86 bpm, instrumental", "[inst]", 20
    ),
)
