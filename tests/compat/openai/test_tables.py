"""Every field of chat completions and of speech: what is sent becomes an input, a warning or a refusal."""

from __future__ import annotations

from typing import Any

import pytest

from acestep_flows.api.http.model_card import ModelCard
from acestep_flows.compat.fields import Draft, SongRequest
from acestep_flows.compat.given_audio import GivenAudio
from acestep_flows.compat.openai.messages import last_of_user
from acestep_flows.compat.openai.songs import settle, settle_speech
from acestep_flows.compat.openai.tables import CHAT, SPEECH, read_chat, read_speech
from acestep_flows.compat.refusal import Refusal
from acestep_flows.errors import InputError

NANO = ModelCard("acestep-nano", sampling={"guidance": "cfg", "guidance_scale": 3.0, "guidance_interval": 1.0})
SOURCE = GivenAudio("messages[0].content[1].input_audio.data", "asset-1", 20.0)
WORDS = "<prompt>lofi, piano</prompt><lyrics>[verse]\nrain</lyrics>"


def chat_of(content: Any = WORDS, sources: tuple[GivenAudio, ...] = (), **fields: Any) -> SongRequest:
    fields = {"messages": [{"role": "user", "content": content}], "model": "acestep-nano", **fields}
    draft = Draft(model=NANO)
    message = last_of_user(fields["messages"], draft)
    return settle(read_chat(fields, draft), message.text, sources).song()


def edit_of(task: str, **fields: Any) -> SongRequest:
    return chat_of(WORDS, (SOURCE,), task_type=task, **fields)


def speech_of(**fields: Any) -> SongRequest:
    fields = {"input": "[verse]\nrain", "instructions": "lofi", "model": "acestep-nano", **fields}
    return settle_speech(read_speech(fields, Draft(model=NANO))).song()


def config(**fields: Any) -> dict[str, Any]:
    return {"audio_config": fields}


@pytest.mark.parametrize(
    ("content", "tags", "lyrics"),
    [
        (WORDS, "lofi, piano", "[verse]\nrain"),
        ("<prompt>lofi, 夜</prompt>", "lofi, 夜", ""),
        ("<lyrics>\n[verse]\n雨 \n</lyrics>", "song", "[verse]\n雨 "),
        ("a calm song", "a calm song", ""),
        ("[verse]\nrain on me", "song", "[verse]\nrain on me"),
        ("rain on me\nall day long\nall night too", "song", "rain on me\nall day long\nall night too"),
        ([{"type": "text", "text": "calm"}, {"type": "text", "text": "piano"}], "calm\npiano", ""),
    ],
)
def test_a_text_becomes_tags_and_lyrics(content: Any, tags: str, lyrics: str) -> None:
    song = chat_of(content)
    assert (song.inputs["tags"], song.inputs["lyrics"]) == (tags, lyrics)


def test_lyrics_of_their_own_leave_the_text_as_tags() -> None:
    song = chat_of("one\ntwo\nthree", lyrics="[verse]\nla")
    assert (song.inputs["tags"], song.inputs["lyrics"]) == ("one\ntwo\nthree", "[verse]\nla")
    assert song.warnings == ()
    assert chat_of("", lyrics="la").inputs["tags"] == "song"


@pytest.mark.parametrize(
    ("sent", "inputs"),
    [
        ({"seed": 7}, {"seed": 7}),
        ({"seed": "7"}, {"seed": 7}),
        ({"guidance_scale": "2.5"}, {"guidance_scale": 2.5}),
        ({"inference_steps": 8.0}, {"steps": 8}),
        ({}, {"duration": 30.0}),
        (config(duration=12.5), {"duration": 12.5}),
        ({"duration": 12.5}, {"duration": 12.5}),
        (config(bpm=72), {"tags": "lofi, piano, 72 bpm"}),
        (config(key_scale="A minor"), {"tags": "lofi, piano, A minor"}),
        (config(time_signature=3), {"tags": "lofi, piano, 3/4"}),
        (config(vocal_language="pt-BR"), {"language": "pt"}),
        (config(instrumental=True), {"lyrics": "[inst]"}),
        (config(instrumental="false"), {"lyrics": "[verse]\nrain"}),
        ({"lyrics": "la"}, {"lyrics": "[verse]\nrain"}),
        ({"task_type": "text2music"}, {"tags": "lofi, piano"}),
    ],
)
def test_a_field_of_a_chat_becomes_an_input(sent: dict[str, Any], inputs: dict[str, Any]) -> None:
    song = chat_of(**sent)
    assert {name: song.inputs.get(name) for name in inputs} == inputs
    assert song.graph == "text2music"


@pytest.mark.parametrize(
    ("sent", "format"),
    [
        ({}, "mp3"),
        (config(format="wav"), "wav"),
        ({"audio": {"format": "FLAC"}}, "flac"),
        (config(format="wav") | {"audio": {"format": "mp3"}}, "wav"),
    ],
)
def test_the_format_is_asked_for_in_two_places(sent: dict[str, Any], format: str) -> None:
    assert chat_of(**sent).format == format


@pytest.mark.parametrize(
    ("sent", "seeds"),
    [
        ({"seed": "1,2"}, [1, 2]),
        ({"seed": 5, "batch_size": 3}, [5, 6, 7]),
        ({"batch_size": 2}, ["random", "random"]),
        ({"seed": [1, -1]}, [1, "random"]),
    ],
)
def test_several_songs_are_several_takes(sent: dict[str, Any], seeds: list[Any]) -> None:
    song = chat_of(**sent)
    assert (song.graph, song.inputs["seeds"]) == ("batch-takes", seeds)


@pytest.mark.parametrize(
    ("task", "sent", "graph", "inputs"),
    [
        ("text2music", {}, "audio2audio", {"reference": "asset-1", "strength": 0.5}),
        ("cover", {"audio_cover_strength": 0.3}, "audio2audio", {"reference": "asset-1", "strength": 0.3}),
        ("cover", {"audio_cover_strength": 1}, "audio2audio", {"strength": 1.0}),
        ("repaint", {}, "repaint", {"source": "asset-1", "span": [0.0, 20.0]}),
        ("repaint", {"repainting_start": 3, "repainting_end": "8"}, "repaint", {"span": [3.0, 8.0]}),
        ("repaint", {"repainting_start": -2}, "extend", {"left": 2.0, "right": 0.0}),
        ("repaint", {"repainting_end": 25}, "extend", {"left": 0.0, "right": 5.0}),
        ("complete", config(duration=31), "extend", {"left": 0.0, "right": 11.0}),
    ],
)
def test_audio_is_changed_or_stayed_near(task: str, sent: dict[str, Any], graph: str, inputs: dict[str, Any]) -> None:
    song = edit_of(task, **sent)
    assert song.graph == graph
    assert {name: song.inputs.get(name) for name in inputs} == inputs
    assert "duration" not in song.inputs


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"model": "gpt-4o-audio-preview"}, "model=text 'gpt-4o-audio-preview': this server's model is used"),
        ({"guidance_scale": 7}, "guidance_scale=7: used; this model's own value is 3"),
        (config(bpm=72), "audio_config.bpm=72: told to the model in the tags"),
        (config(key_scale="A minor"), "audio_config.key_scale=text 'A minor': told to the model"),
        (config(time_signature="4"), "audio_config.time_signature=text '4/4': told to the model"),
        (config(vocal_language="sv"), "audio_config.vocal_language=text 'sv': the language of the lyrics is detected"),
        (config(instrumental=True), "lyrics=text '[verse]"),
        (config(colour="blue"), "audio_config.colour=text 'blue': not known here, ignored"),
        ({"lyrics": "la"}, "lyrics=text 'la': not used; the message has lyrics"),
        ({"sample_mode": True}, "sample_mode=true: no language model is served here"),
        ({"thinking": "true"}, "thinking=true: no language model"),
        ({"use_format": 1}, "use_format=true: no language model"),
        ({"use_cot_caption": True}, "use_cot_caption=true: no language model"),
        ({"audio": {"voice": "alloy"}}, "audio.voice=text 'alloy': this model has no voices"),
        ({"audio_cover_strength": 0.4}, "audio_cover_strength=0.4: not used"),
        ({"repainting_start": 3}, "repainting_start=3: not used"),
        ({"repainting_end": 3}, "repainting_end=3: not used"),
        ({"seed": "1,2,3", "batch_size": 2}, "seed=a list of 3: batch_size is 2"),
        ({"max_tokens": 100}, "max_tokens=100: not known here, ignored"),
        ({"n": 2}, "n=2: not known here"),
    ],
)
def test_what_is_done_otherwise_is_told(sent: dict[str, Any], said: str) -> None:
    assert [line for line in chat_of(**sent).warnings if line.startswith(said)], chat_of(**sent).warnings


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a calm song", "no language model is served here; the text is used as the tags"),
        ("<lyrics>la</lyrics>", "no tags were given"),
        (f"Please: {WORDS}", "beside <prompt> and <lyrics>, not read"),
        ([{"type": "text", "text": WORDS}, {"type": "image_url", "image_url": {}}], "not read"),
    ],
)
def test_what_is_not_read_of_a_message_is_told(content: Any, said: str) -> None:
    (line,) = chat_of(content).warnings
    assert said in line


@pytest.mark.parametrize(
    ("task", "sent", "said"),
    [
        ("cover", {}, "audio_cover_strength=null: 0.5 is used"),
        ("cover", {"audio_cover_strength": 1}, "audio_cover_strength=1: used; it gives the audio itself"),
        ("cover", config(duration=5), "audio_config.duration=5: the song is as long as its audio, 20 s"),
        ("cover", {"batch_size": 2}, "batch_size=2: one song is made here at a time"),
        ("repaint", {"audio_cover_strength": 0.2}, "audio_cover_strength=0.2: not used"),
    ],
)
def test_what_an_edit_does_otherwise_is_told(task: str, sent: dict[str, Any], said: str) -> None:
    assert [line for line in edit_of(task, **sent).warnings if line.startswith(said)], edit_of(task, **sent).warnings


def test_more_audio_than_a_task_takes_is_told() -> None:
    song = chat_of(WORDS, (SOURCE, GivenAudio("second", "asset-2", 3.0)), task_type="repaint")
    assert [line for line in song.warnings if line.startswith("second=text 'asset-2': not used")]


@pytest.mark.parametrize("sent", [{"thinking": False}, {"temperature": 0.7, "top_p": 1}, {"use_cot_caption": "false"}])
def test_what_is_so_anyway_is_not_told(sent: dict[str, Any]) -> None:
    assert chat_of(**sent).warnings == ()


def test_earlier_messages_are_told() -> None:
    draft = Draft(model=NANO)
    messages = [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}, {"role": "system"}]
    assert last_of_user(messages, draft).text == "two"
    assert draft.warnings == ["messages=a list of 3: the last one of the user is read"]


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"seed": "x"}, "seed"),
        ({"batch_size": 9}, "batch_size"),
        ({"guidance_scale": 31}, "guidance_scale"),
        ({"inference_steps": 0}, "inference_steps"),
        ({"task_type": "lego"}, "task_type"),
        ({"task_type": "repaint"}, "messages"),
        ({"audio_cover_strength": 2}, "audio_cover_strength"),
        ({"repainting_start": "x"}, "repainting_start"),
        ({"repainting_end": []}, "repainting_end"),
        ({"modalities": ["video"]}, "modalities"),
        ({"modalities": "audio"}, "modalities"),
        ({"audio": {"format": "opus"}}, "audio.format"),
        ({"audio": {"format": "pcm16"}}, "audio.format"),
        ({"audio": "mp3"}, "audio"),
        ({"audio_config": [1]}, "audio_config"),
        (config(format="aac"), "audio_config.format"),
        (config(duration=241), "audio_config.duration"),
        (config(duration=0), "audio_config.duration"),
        (config(bpm="fast"), "audio_config.bpm"),
        (config(key_scale=["A"]), "audio_config.key_scale"),
        (config(time_signature={}), "audio_config.time_signature"),
        (config(vocal_language=[]), "audio_config.vocal_language"),
        (config(instrumental="perhaps"), "audio_config.instrumental"),
        ({"stream": "perhaps"}, "stream"),
        ({"thinking": "much"}, "thinking"),
        ({"lyrics": ["la"]}, "lyrics"),
        ({"model": {}}, "model"),
    ],
)
def test_what_cannot_be_is_refused_by_name(sent: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as refused:
        chat_of(**sent)
    assert refused.value.field == field
    assert refused.value.allowed


@pytest.mark.parametrize(
    "messages",
    [
        None,
        [],
        "lofi",
        [3],
        [{"role": "system", "content": "x"}],
        [{"role": "user"}],
        [{"role": "user", "content": [3]}],
        [{"role": "user", "content": [{"type": "text"}]}],
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": "x"}]}],
    ],
)
def test_what_is_no_message_is_refused(messages: Any) -> None:
    with pytest.raises(InputError, match=r"^messages"):
        last_of_user(messages, Draft())


@pytest.mark.parametrize("content", ["", " \n ", [], "<prompt></prompt>"])
def test_a_message_without_words_is_refused(content: Any) -> None:
    with pytest.raises(InputError) as refused:
        chat_of(content)
    assert refused.value.field == "messages"


def test_a_song_that_is_not_longer_is_no_completion() -> None:
    with pytest.raises(InputError) as refused:
        edit_of("complete", **config(duration=20))
    assert refused.value.field == "audio_config.duration"
    with pytest.raises(InputError) as refused:
        edit_of("repaint", repainting_start=9, repainting_end=8)
    assert refused.value.field == "repainting_start"


@pytest.mark.parametrize(
    ("sent", "inputs"),
    [
        ({}, {"lyrics": "[verse]\nrain", "tags": "lofi", "duration": 30.0}),
        ({"instructions": None}, {"tags": "song"}),
        ({"input": ""}, {"tags": "lofi"}),
        ({"duration": "5"}, {"duration": 5.0}),
        ({"seed": 3}, {"seed": 3}),
        ({"inference_steps": 3}, {"steps": 3}),
        ({"guidance_scale": 2}, {"guidance_scale": 2.0}),
    ],
)
def test_a_field_of_speech_becomes_an_input(sent: dict[str, Any], inputs: dict[str, Any]) -> None:
    song = speech_of(**sent)
    assert {name: song.inputs.get(name) for name in inputs} == inputs
    assert song.format == "mp3"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"model": "tts-1"}, "model=text 'tts-1'"),
        ({"voice": "alloy"}, "voice=text 'alloy': this model has no voices"),
        ({"speed": 1.5}, "speed=1.5: a song has its own tempo"),
        ({"instructions": ""}, "instructions=text '': no tags were given"),
        ({"seed": "1,2"}, "seed=a list of 2: one song"),
        ({"colour": 1}, "colour=1: not known here"),
    ],
)
def test_what_speech_does_otherwise_is_told(sent: dict[str, Any], said: str) -> None:
    assert [line for line in speech_of(**sent).warnings if line.startswith(said)], speech_of(**sent).warnings


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"response_format": "opus"}, "response_format"),
        ({"response_format": "aac"}, "response_format"),
        ({"response_format": "pcm"}, "response_format"),
        ({"stream_format": "sse"}, "stream_format"),
        ({"duration": 500}, "duration"),
        ({"speed": "fast"}, "speed"),
        ({"input": "", "instructions": ""}, "input"),
    ],
)
def test_speech_refuses_by_name(sent: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as refused:
        speech_of(**sent)
    assert refused.value.field == field


@pytest.mark.parametrize("sent", [{}, {"input": None}, {"voice": "alloy", "duration": 5}, {"instructions": ""}])
def test_speech_without_input_is_told_of_input(sent: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refused:
        settle_speech(read_speech(sent, Draft(model=NANO)))
    assert (refused.value.field, refused.value.kind) == ("input", "missing")
    assert str(refused.value) == "input: missing (allowed: lyrics to sing; instructions alone have no words sung)"


def test_the_format_of_speech_is_asked_for() -> None:
    assert speech_of(response_format="wav", speed=1.0, stream_format="audio").format == "wav"
    assert speech_of(speed="1.0").warnings == ()


def test_every_row_ends_somewhere() -> None:
    """Rows of a chat without an effect of their own are joined in `songs` and `song_tasks`, and named there."""
    from pathlib import Path

    from acestep_flows.compat import song_tasks
    from acestep_flows.compat.openai import answers, family, songs

    text = "".join(Path(str(module.__file__)).read_text() for module in (songs, song_tasks, answers, family))
    for row in (*CHAT, *SPEECH):
        assert row.becomes or row.ignored or row.refused or row.name.removeprefix("audio_config.") in text, row.name
