"""Eight styles as data: tempo, grooves, harmony, instruments, balance and moods.

A bar has sixteen steps. Drums: `x` accent, `o` soft. Bass: `R` root, `3`, `5`, `8` (octave), `-` hold, `.` rest.
Leads: `x` note, `-` hold, `.` rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Comping:
    """How chords are played: `block` together, `strum` spread a little, `arpeggio` one note after another."""

    kind: str
    pattern: str  # x where something is played, - hold, . rest


@dataclass(frozen=True)
class Style:
    """The properties of a style."""

    name: str
    tempos: tuple[int, int]
    minor: float  # share of pieces in minor
    kit: str
    grooves: tuple[dict[str, str], ...]
    bass_lines: tuple[str, ...]
    comping: tuple[Comping, ...]
    leads: tuple[str, ...]
    instruments: dict[str, tuple[str, ...]]  # by role
    moods: tuple[str, ...]
    drums: float = 1.0  # share of pieces with drums
    vocal: float = 0.4
    chord_size: int = 3
    turnaround: float = 0.0  # share of jazz-like progressions
    swing: float = 0.0  # how far off-beat sixteenths come late, in steps
    room: float = 0.25
    levels: dict[str, float] = field(default_factory=dict)  # dB against LEVELS


LEVELS = {"drums": -2.0, "bass": -4.0, "chords": -6.0, "lead": -3.0, "vocal": 0.0}

STYLES: dict[str, Style] = {
    style.name: style
    for style in (
        Style(
            "house", (116, 132), 0.8, "machine",
            ({"kick": "x...x...x...x...", "clap": "....x.......x...", "open hat": "..x...x...x...x.",
              "hat": "o.o.o.o.o.o.o.o."},
             {"kick": "x...x...x...x...", "clap": "....x.......x...", "open hat": "..x...x...x...x.",
               "hat": "oooooooooooooooo"}),
            ("..R...R...R...R.", "..R-..R...R-..8.", "..R.R...R.R...R."),
            (Comping("block", "..x-..x-..x-..x-"),
             Comping("block", "x-x-..x-x-x-..x-"),
             Comping("block", "x-..x-..x-..x-x-")),
            ("x-..x-..x.x-....", "x.x.x-..x-x-....", "..x-x-..x-..x-x-"),
            {"bass": ("synth bass",), "chords": ("synth pluck", "organ"), "lead": ("synth lead", "synth pluck")},
            ("energetic", "club"), vocal=0.35, room=0.2, levels={"drums": 1.0},
        ),
        Style(
            "rock", (104, 152), 0.5, "acoustic",
            ({"kick": "x.....x.x.......", "snare": "....x.......x...", "hat": "x.o.x.o.x.o.x.o."},
             {"kick": "x..x....x.x.....", "snare": "....x.......x...", "ride": "x.x.x.x.x.x.x.x."}),
            ("R.R.R.R.R.R.R.R.", "R-R.R.R.R-R.R.5."),
            (Comping("block", "x-x-x-x-x-x-x-x-"),
             Comping("block", "x---x-x-x---x-x-"),
             Comping("block", "x-------x---x-x-")),
            ("x---x-x-x---x---", "x-x-x---x-x-x---", "x---..x-x-x-x---"),
            {"bass": ("bass guitar",), "chords": ("electric guitar",), "lead": ("guitar solo", "organ")},
            ("powerful", "driving"), vocal=0.5, room=0.15, levels={"chords": 1.5, "drums": 1.0},
        ),
        Style(
            "ambient", (60, 84), 0.5, "brushes",
            ({"shaker": "o...o...o...o...", "kick": "x.......x......."},),
            ("R---------------", "R-------5-------"),
            (Comping("block", "x-------x-------"), Comping("block", "x---------------")),
            ("x---x---x---x---", "x---x---x-------", "x---x-x-x---x---"),
            {"bass": ("sub bass",), "chords": ("synth pad", "strings"), "lead": ("music box", "flute", "vibraphone")},
            ("calm", "dreamy"), drums=0.1, vocal=0.15, room=0.9, levels={"chords": 2.0, "lead": -1.0, "bass": -3.0},
        ),
        Style(
            "hip hop", (72, 100), 0.8, "dusty",
            ({"kick": "x......x..x.....", "snare": "....x.......x...", "hat": "x.o.x.o.x.o.x.oo"},
             {"kick": "x..x......x....x", "snare": "....x.......x...", "hat": "o.o.o.o.o.o.o.o."}),
            ("R--.....R-..R---", "R----.R-....5-R-"),
            (Comping("block", "x-------..x-----"),
             Comping("block", "x-----x---......"),
             Comping("block", "..x---..x-----..")),
            ("x-x-..x-..x-x---", "..x-x-..x---....", "x---..x-x-..x-.."),
            {"bass": ("sub bass",), "chords": ("electric piano",), "lead": ("vibraphone", "flute", "trumpet")},
            ("laid back", "urban"), vocal=0.5, chord_size=4, swing=0.28, room=0.2, levels={"bass": 2.5, "drums": 1.0},
        ),
        Style(
            "jazz", (108, 176), 0.4, "brushes",
            ({"ride": "x...x..xx...x..x", "hat": "....x.......x...", "kick": "o.......o......."},
             {"ride": "x...x..xx...x..x", "snare": ".......o......o.", "hat": "....x.......x..."}),
            ("R---3---5---3---", "R---5---8---5---", "R---3---5---8---"),
            (Comping("block", "x-.....x-......."),
             Comping("block", "...x-.......x---"),
             Comping("block", "x---...x-...x-..")),
            ("x--xx--xx---x--x", "x---x--xx--x....", "...xx--xx---x---"),
            {"bass": ("double bass",), "chords": ("piano",), "lead": ("saxophone", "trumpet", "vibraphone")},
            ("smooth", "swinging"), drums=0.85, vocal=0.25, chord_size=4, turnaround=0.8, swing=0.33, room=0.3,
        ),
        Style(
            "folk", (84, 132), 0.3, "brushes",
            ({"shaker": "x.o.x.o.x.o.x.o.", "kick": "x.......x......."},
             {"shaker": "oooooooooooooooo", "tom": "x.......x......."}),
            ("R-------5-------", "R---....5---...."),
            (Comping("arpeggio", "x.x.x.x.x.x.x.x."),
             Comping("strum", "x---x-x---x-x-x-"),
             Comping("arpeggio", "xxxxxxxxxxxxxxxx")),
            ("x---x-x-x---x-x-", "x-x-x---x-x-x---", "x---x---x-x-x---"),
            {"bass": ("double bass",), "chords": ("acoustic guitar",), "lead": ("violin", "flute")},
            ("warm", "gentle"), drums=0.4, vocal=0.6, room=0.25, levels={"chords": 2.0},
        ),
        Style(
            "synthwave", (80, 118), 0.85, "machine",
            ({"kick": "x.......x.......", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
             {"kick": "x...x...x...x...", "snare": "....x.......x...", "hat": "oooooooooooooooo"}),
            ("R.R.R.R.R.R.R.R.", "R.8.R.8.R.8.R.8.", "RRRRRRRRRRRRRRRR"),
            (Comping("block", "x---------------"), Comping("block", "x-------x-------")),
            ("x---x---x-x-x---", "x-----x-x---x---", "x-x-x-x-x---...."),
            {"bass": ("synth bass",), "chords": ("synth pad",), "lead": ("synth lead",)},
            ("retro", "nostalgic"), vocal=0.3, room=0.5, levels={"bass": 1.0},
        ),
        Style(
            "orchestral", (60, 120), 0.5, "acoustic",
            ({"tom": "x.......x.......", "crash": "x..............."}, {"tom": "x...x.xxx...x.xx"}),
            ("R---5---R---5---", "R-------R-------"),
            (Comping("block", "x-------x-------"),
             Comping("block", "x-x-x-x-x-x-x-x-"),
             Comping("arpeggio", "x.x.x.x.x.x.x.x.")),
            ("x-------x---x---", "x---x---x-x-x---", "x-----x-x-------"),
            {"bass": ("double bass",), "chords": ("strings",), "lead": ("trumpet", "violin", "flute")},
            ("epic", "cinematic"), drums=0.35, vocal=0.1, room=0.7, levels={"chords": 2.0, "bass": -1.0},
        ),
    )
}  # fmt: skip
