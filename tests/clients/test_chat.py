"""`/ws/chat`, spoken to by a client that knows nothing but its contract."""

import asyncio
import base64
import json

import numpy as np
import pytest
import soxr
import websockets

from chat import Chat, play_whole
from server import Server, transcribe
from speech import RATE, bandwidth, error_rate, phrase

# Sample rates, each with what its client says; one of them sends nothing while it is silent.
TALKS = {
    8_000: ("talking-about", True),
    16_000: ("best-and-worst", False),
    44_100: ("everything-and-nothing", True),
    48_000: ("in-short", True),
}


@pytest.fixture(scope="module")
def talks(server):
    async def talk(rate, id, sends_silence):
        async with await Chat.open(server.url, rate, sends_silence) as chat:
            answer = await chat.ask(phrase(id).pcm)
            await chat.until(lambda: chat.all("response_done"), "response_done")
            return phrase(id), answer, chat.messages

    async def all_at_once():
        return dict(zip(TALKS, await asyncio.gather(*(talk(rate, *how) for rate, how in TALKS.items()))))

    return asyncio.run(all_at_once())


def test_speech_of_every_sample_rate_is_understood(talks):
    # 8 kHz is a telephone's, where more is misheard.
    assert error_rate([(said.text, answer.transcript) for said, answer, _ in talks.values()]) <= 0.15, talks


def test_replies_are_heard_as_they_are_written(talks):
    pairs = []
    for _, answer, _ in talks.values():
        assert answer.text
        pairs.append((answer.text, transcribe(soxr.resample(answer.sound, answer.rate, RATE))))
    assert error_rate(pairs) <= 0.25, pairs


def test_what_is_understood_is_told_while_it_is_spoken(talks):
    assert any(answer.partials for _, answer, _ in talks.values())
    for _, answer, _ in talks.values():
        assert all(len(one) <= len(next) for one, next in zip(answer.partials, answer.partials[1:]))


def test_every_message_is_one_of_the_contract(talks):
    known = {"transcription", "llm_token", "audio_response", "error"}
    extra = {"session", "session_resumable", "response_done", "interrupted"}
    for _, _, messages in talks.values():
        assert {m["type"] for m in messages} <= known | extra
        assert not [m for m in messages if m["type"] == "error"]
        turns = {m["turn_id"] for m in messages if m["type"] in known}
        assert len(turns) == 1


def test_history_keeps_the_talk_under_its_door(server, talks):
    for _, answer, messages in talks.values():
        (session,) = [m for m in messages if m["type"] == "session"]
        (turn,) = server.conversation(session["conversation_id"])
        assert (turn["door"], turn["user"]["text"], turn["assistant"]["text"]) == ("websocket", answer.transcript, answer.text)


def test_a_reply_comes_again_in_a_better_voice_while_the_talk_is_up(server):
    async def talk():
        async with await Chat.open(server.url, query="?voice=flite/slt") as chat:
            answer = await chat.ask(phrase("in-short").pcm)
            turn = chat.all("audio_response", mode="fast")[0]["turn_id"]
            await chat.until(lambda: chat.all("audio_response", mode="hq"), "the better voice")
            (better,) = chat.all("audio_response", mode="hq")
            assert better["turn_id"] == turn
            # Nobody waits for it: the talk goes on as before.
            assert (await chat.ask(phrase("talking-about").pcm)).text
            return chat.all("session")[0]["conversation_id"], answer, play_whole(better)

    conversation, answer, (sound, rate) = asyncio.run(talk())
    heard = transcribe(soxr.resample(sound, rate, RATE))
    assert error_rate([(answer.text, heard)]) <= 0.25, (answer.text, heard)
    fast, better = bandwidth(answer.sound, answer.rate), bandwidth(sound, rate)
    assert better > 1.3 * fast, (fast, better)
    kept = server.conversation(conversation)[0]["assistant"]
    assert kept["hq"]["state"] == "ready" and abs(kept["hq"]["duration_ms"] - len(sound) * 1000 / rate) < 50, kept


def test_speaking_over_a_reply_stops_it_and_says_so(tmp_path):
    server = Server(tmp_path, AVATAR_SESSION_INSTRUCTIONS="Answer in eight long sentences.", AVATAR_SESSION_MAX_REPLY_TOKENS="160")
    try:

        async def talk():
            async with await Chat.open(server.url) as chat:
                chat.say(phrase("talking-about").pcm)
                await chat.until(lambda: chat.all("audio_response"), "audio")
                await asyncio.sleep(1.0)
                chat.say(phrase("best-and-worst").pcm)
                await chat.until(lambda: chat.all("interrupted"), "interrupted")
                turn = chat.all("interrupted")[0]["turn_id"]
                sent = len(chat.all("audio_response", turn_id=turn))
                await chat.until(lambda: len(chat.all("transcription", is_final=True)) > 1, "the second turn")
                assert len(chat.all("audio_response", turn_id=turn)) == sent, "nothing is sent of it afterwards"
                conversation = chat.all("session")[0]["conversation_id"]
                return turn, chat.answer(turn), conversation

        _, answer, conversation = asyncio.run(talk())
        kept = server.conversation(conversation)[0]["assistant"]
        assert kept["interrupted"] and len(kept["heard"]) < len(kept["text"]), kept
        assert len(answer.sound) / answer.rate < 6
    finally:
        server.stop()


def test_a_conversation_goes_on_where_it_was(server):
    async def talk():
        async with await Chat.open(server.url) as chat:
            first = await chat.ask(phrase("talking-about").pcm)
            id = chat.all("session")[0]["conversation_id"]
        async with await Chat.open(server.url, query=f"?conversation={id}&language=en") as chat:
            await chat.ask(phrase("in-short").pcm)
            assert chat.all("session")[0]["conversation_id"] == id
        return id

    id = asyncio.run(talk())
    assert len(server.conversation(id)) == 2


def test_a_client_that_loses_its_connection_comes_back_by_its_token(server):
    async def talk():
        chat = await Chat.open(server.url)
        await chat.until(lambda: chat.all("session_resumable"), "a token")
        token = chat.all("session_resumable")[0]["token"]
        id = chat.all("session")[0]["conversation_id"]
        chat.socket.transport.abort()
        how = {"subprotocols": ["chat", f"avatar-resume.{token}"]}
        async with await Chat.open(server.url, **how) as again:
            await again.until(lambda: again.all("session_resumed"), "session_resumed")
            assert again.all("session_resumed")[0] | {"turn_id": None} == {
                "type": "session_resumed", "conversation_id": id, "from": "memory", "turn_id": None,
            }
            assert (await again.ask(phrase("in-short").pcm)).text
        async with await Chat.open(server.url, **how) as late:
            await late.until(lambda: late.all("error"), "a refusal")
            assert late.all("error")[0]["code"] == "resume_token_invalid"

    asyncio.run(talk())


GARBAGE = [
    ("", "bad_message"),
    ("{", "bad_message"),
    ("[]", "bad_message"),
    (b"\x00\x01", "bad_message"),
    (json.dumps({"type": "hello"}), "unknown_type"),
    (json.dumps({"type": "audio_chunk", "data": "AAAA", "ts": 0}), "bad_rate"),
    (json.dumps({"type": "audio_chunk", "data": "AAAA", "ts": 0, "sr": 192_000}), "bad_rate"),
    (json.dumps({"type": "audio_chunk", "data": "!", "ts": 0, "sr": 16_000}), "bad_audio"),
    (json.dumps({"type": "audio_chunk", "data": "AAAA", "ts": 0, "sr": 16_000}), "bad_audio"),
    ("x" * 900_000, "too_large"),
]


def test_garbage_is_answered_and_the_talk_goes_on(server):
    async def talk():
        async with await Chat.open(server.url) as chat:
            for number, (message, code) in enumerate(GARBAGE, 1):
                await chat.socket.send(message)
                await chat.until(lambda: len(chat.all("error")) >= number, code)
                assert chat.all("error")[-1]["code"] == code
            return await chat.ask(phrase("talking-about").pcm)

    answer = asyncio.run(talk())
    assert error_rate([(phrase("talking-about").text, answer.transcript)]) <= 0.15


def test_a_flood_is_told_and_costs_the_server_little(own_server):
    def memory() -> int:
        status = open(f"/proc/{own_server.process.pid}/status").read()
        return int(status.split("VmRSS:")[1].split()[0])

    async def flood(seconds):
        chat = await Chat.open(own_server.url, sends_silence=False)
        async with chat:
            noise = (np.random.default_rng(1).normal(0, 300, 16_000 * 2)).astype("<i2").tobytes()
            message = json.dumps({"type": "audio_chunk", "data": base64.b64encode(noise).decode(), "ts": 0, "sr": 16_000})
            try:
                for _ in range(seconds // 2):
                    await chat.socket.send(message)
            except websockets.ConnectionClosed as closed:
                # Whoever goes on and on is cut off.
                assert seconds > 200 and closed.rcvd.code == 1008, closed
            await chat.until(lambda: chat.all("error", code="overloaded"), "overloaded")

    asyncio.run(flood(100))
    before = memory()
    asyncio.run(flood(2_000))
    assert memory() - before < 64 * 1024, "KiB"
    assert own_server.get("/health").status_code == 200


def test_a_sixth_talk_is_told_that_all_are_busy(own_server):
    async def talks():
        chats = [await Chat.open(own_server.url, sends_silence=False) for _ in range(5)]
        try:
            sixth = await Chat.open(own_server.url, sends_silence=False)
            await sixth.until(lambda: sixth.all("error"), "a refusal")
            assert sixth.all("error")[0]["code"] == "busy"
            await sixth.socket.wait_closed()
            assert sixth.socket.close_code == 1013
        finally:
            for chat in chats:
                await chat.socket.close()

    asyncio.run(talks())


def test_nobody_comes_in_without_the_key(tmp_path):
    server = Server(tmp_path, AVATAR_API_KEYS="sk-of-this-test-4f1c9a7e")
    try:

        async def tries():
            for how in ({}, {"additional_headers": {"authorization": "Bearer wrong"}}, {"subprotocols": ["avatar-key.wrong"]}):
                with pytest.raises(websockets.InvalidStatus) as refused:
                    await Chat.open(server.url, **how)
                assert refused.value.response.status_code == 401
            for how in (
                {"additional_headers": {"authorization": "Bearer sk-of-this-test-4f1c9a7e"}},
                {"subprotocols": ["realtime", "openai-insecure-api-key.sk-of-this-test-4f1c9a7e"]},
                {"subprotocols": ["avatar-key.sk-of-this-test-4f1c9a7e"]},
            ):
                async with await Chat.open(server.url, **how) as chat:
                    await chat.until(lambda: chat.all("session"), "session")

        asyncio.run(tries())
    finally:
        server.stop()


