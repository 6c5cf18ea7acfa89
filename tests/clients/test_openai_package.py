"""The `openai` package against the server: what its users do, unmodified."""

import asyncio
import io
import time
import wave

import av
import httpx
import numpy as np
import openai
import pytest
import soxr

from caller import Caller
from server import Server, transcribe
from speech import RATE, decode, error_rate, phrase, phrases, to_int16

KEY = "a-key-of-the-tests-0123456789"
SAID = "The weather is nice today. We are going for a walk in the park."


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A server that wants a key."""
    running = Server(tmp_path_factory.mktemp("locked"), AVATAR_API_KEYS=KEY, AVATAR_SESSION_MAX_REPLY_TOKENS="24")
    yield running
    running.stop()


def client(server: Server, key: str = KEY, **settings) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, **settings)


@pytest.fixture(scope="module")
def avatar(locked):
    return client(locked)


def chat(avatar, content: str = "What is the capital of France?", **more):
    messages = [{"role": "system", "content": "Answer in one short sentence."}, {"role": "user", "content": content}]
    return avatar.chat.completions.create(model="auto", messages=messages, temperature=0, **more)


def wav(pcm: np.ndarray) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(to_int16(pcm).tobytes())
    return file.getvalue()


# Models and keys.


def test_models_are_listed_and_each_is_found_by_its_id(avatar):
    models = list(avatar.models.list())
    assert {model.kind for model in models} == {"llm", "stt", "tts"}
    for model in models:
        assert avatar.models.retrieve(model.id).id == model.id
        assert model.created <= time.time()
    with pytest.raises(openai.NotFoundError) as refused:
        avatar.models.retrieve("gpt-9")
    assert refused.value.code == "model_not_found"


def test_a_wrong_key_is_refused_at_every_door(locked):
    stranger = client(locked, "not-the-key-of-the-tests")
    for ask in (
        lambda: stranger.models.list(),
        lambda: chat(stranger),
        lambda: stranger.audio.speech.create(model="auto", voice="alloy", input="Hello."),
        lambda: stranger.audio.transcriptions.create(model="auto", file=("a.wav", b"RIFF")),
    ):
        with pytest.raises(openai.AuthenticationError) as refused:
            ask()
        assert refused.value.code == "invalid_api_key"


# Chat.


def test_a_reply_comes_whole_with_what_it_cost(avatar):
    reply = chat(avatar, max_tokens=24)
    assert "paris" in reply.choices[0].message.content.lower()
    assert reply.choices[0].finish_reason in ("stop", "length")
    assert reply.model in {model.id for model in avatar.models.list()}
    usage = reply.usage
    assert usage.prompt_tokens > 10 and 0 < usage.completion_tokens <= 24
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_reply_streams_the_same_words(avatar):
    whole = chat(avatar, max_tokens=24).choices[0].message.content
    stream = chat(avatar, max_tokens=24, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole
    assert sum(1 for chunk in chunks if chunk.choices and chunk.choices[0].delta.content) > 3, "it came all at once"
    assert chunks[-1].usage.completion_tokens > 0 and not chunks[-1].choices


def test_a_prompt_that_was_seen_before_is_not_read_again(avatar):
    long = "Here is a list of fruit: " + ", ".join(f"{number} apples" for number in range(60)) + ". How many kinds?"
    first = chat(avatar, long, max_tokens=4)
    for key in ({}, {"user": "somebody"}):
        again = chat(avatar, long, max_tokens=4, **key)
        assert again.usage.prompt_tokens == first.usage.prompt_tokens
        assert again.usage.prompt_tokens_details.cached_tokens > 0.9 * first.usage.prompt_tokens


def test_what_is_not_done_here_is_refused_with_the_name_of_the_parameter(avatar):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    for param, more in (("n", {"n": 2}), ("tools", {"tools": tools}), ("top_p", {"top_p": 7})):
        with pytest.raises(openai.BadRequestError) as refused:
            chat(avatar, **more)
        assert refused.value.param == param
    with pytest.raises(openai.NotFoundError) as refused:
        avatar.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "Hi."}])
    assert refused.value.code == "model_not_found"


def test_a_client_that_hangs_up_gives_its_turn_to_the_next(locked, avatar):
    """Each of these would write for minutes; many times more than run at once are begun and left."""
    endless = {"max_tokens": 4_000, "stream": True, "extra_body": {"repetition_penalty": 1.0}}
    for _ in range(12):
        with chat(avatar, "Count from one to ten thousand, one number after the other.", **endless) as stream:
            next(iter(stream))
    assert chat(client(locked, timeout=60, max_retries=0), max_tokens=4).choices[0].message.content


# Transcription.


def test_a_recording_is_written_down(avatar):
    said = phrases("best-and-worst", "everything-and-nothing", "in-short", "the-ditch")
    heard = [avatar.audio.transcriptions.create(model="auto", file=("a.wav", wav(one.pcm))) for one in said]
    pairs = [(one.text, told.text) for one, told in zip(said, heard)]
    print("WER of recordings:", error_rate(pairs))
    assert error_rate(pairs) <= 0.10, pairs


def test_a_long_recording_comes_piece_by_piece_and_with_times(avatar):
    pause = np.zeros(2 * RATE, np.float32)
    said = phrases("best-and-worst", "everything-and-nothing", "the-ditch")
    recording = np.concatenate([part for one in said for part in (pause, one.pcm)] + [pause])
    text = " ".join(one.text for one in said)

    events = list(avatar.audio.transcriptions.create(model="auto", file=("a.wav", wav(recording)), stream=True))
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert len(deltas) == 3
    assert events[-1].type == "transcript.text.done" and events[-1].text == "".join(deltas)
    assert error_rate([(text, events[-1].text)]) <= 0.10, events[-1].text

    verbose = avatar.audio.transcriptions.create(
        model="auto", file=("a.wav", wav(recording)), response_format="verbose_json"
    )
    assert verbose.duration == pytest.approx(len(recording) / RATE, abs=0.05)
    begin = 2.0
    for one, segment in zip(said, verbose.segments, strict=True):
        assert segment.start == pytest.approx(begin, abs=0.5) and segment.end == pytest.approx(
            begin + len(one.pcm) / RATE, abs=0.5
        )
        begin += len(one.pcm) / RATE + 2.0
    subtitles = avatar.audio.transcriptions.create(model="auto", file=("a.wav", wav(recording)), response_format="srt")
    assert subtitles.count(" --> ") == 3


def test_silence_and_noise_are_an_empty_text(avatar):
    noise = np.random.default_rng(7).normal(0, 0.05, 6 * RATE).astype(np.float32)
    for sound in (np.zeros(6 * RATE, np.float32), noise):
        assert avatar.audio.transcriptions.create(model="auto", file=("a.wav", wav(sound))).text == ""


@pytest.mark.parametrize("codec, container", [("flac", "flac"), ("libmp3lame", "mp3"), ("libopus", "webm"), ("libopus", "ogg"), ("aac", "mp4")])
def test_a_recording_is_read_whatever_it_is_kept_in(avatar, codec, container):
    said = phrase("everything-and-nothing")
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(to_int16(said.pcm)[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        out.mux([packet for part in (frame, None) for packet in stream.encode(part)])
    told = avatar.audio.transcriptions.create(model="auto", file=("sound", file.getvalue()))
    assert error_rate([(said.text, told.text)]) <= 0.15, told.text


def test_what_is_no_recording_is_refused(avatar):
    with pytest.raises(openai.BadRequestError) as refused:
        avatar.audio.transcriptions.create(model="auto", file=("a.wav", b"this is a text"))
    assert (refused.value.code, refused.value.param) == ("invalid_audio", "file")


# Speech.


@pytest.mark.parametrize("format", ["wav", "opus", "pcm"])
def test_speech_is_understood_when_it_is_listened_to(avatar, tmp_path, format):
    path = tmp_path / f"said.{format}"
    with avatar.audio.speech.with_streaming_response.create(
        model="auto", voice="alloy", input=SAID, response_format=format
    ) as answer:
        assert answer.headers["x-avatar-voice"]
        answer.stream_to_file(path)
    if format == "pcm":
        pcm, rate = np.frombuffer(path.read_bytes(), "<i2").astype(np.float32) / 32768, 24_000
    else:
        pcm, rate = decode(path)
    heard = transcribe(soxr.resample(pcm, rate, RATE))
    print(f"WER of speech as {format}:", error_rate([(SAID, heard)]))
    assert error_rate([(SAID, heard)]) <= 0.25, heard


def test_speech_begins_before_it_is_all_made(locked):
    """The first bytes of a long text come while the rest is still to be said."""
    long = " ".join(f"This is sentence number {number} of a long text." for number in range(80))
    body = {"model": "auto", "voice": "alloy", "input": long, "response_format": "pcm"}
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx.stream("POST", f"{locked.url}/v1/audio/speech", json=body, headers=headers, timeout=120) as answer:
        pieces = [len(piece) for piece in answer.iter_raw()]
    assert sum(pieces) > 60 * 48_000 and len(pieces) > 20


def test_what_cannot_be_said_as_asked_is_refused(avatar):
    for param, more in (("speed", {"speed": 2.0}), ("response_format", {"response_format": "mp3"}), ("voice", {"voice": "nobody"})):
        with pytest.raises(openai.BadRequestError) as refused:
            avatar.audio.speech.create(**{"model": "auto", "voice": "alloy", "input": SAID, **more})
        assert refused.value.param == param


# Beside a call.


def test_five_programs_beside_a_call_leave_the_call_its_reply(server):
    """Both say how long the caller waits; it is only asserted that all are served."""

    async def run():
        async with await Caller.dial(server.url) as caller:
            alone = await caller.ask(phrase("talking-about"))
            programs = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=300)
            message = [{"role": "user", "content": "Tell me a long story about a dragon."}]
            asked = [
                asyncio.create_task(
                    programs.chat.completions.create(model="auto", messages=message, max_tokens=80)
                )
                for _ in range(5)
            ]
            await asyncio.sleep(0.5)
            beside = await caller.ask(phrase("everything-and-nothing"))
            replies = await asyncio.gather(*asked)
            waits = [event["stages"]["first_packet_ms"] for event in caller.all("avatar.turn.timings")]
            return alone, beside, replies, waits

    alone, beside, replies, waits = asyncio.run(run())
    print("voice to voice, ms: alone", waits[0], "beside five programs", waits[1])
    assert [turn.status for turn in (alone, beside)] == ["completed"] * 2 and beside.reply
    assert all(reply.choices[0].message.content for reply in replies)
