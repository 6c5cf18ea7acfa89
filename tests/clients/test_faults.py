"""Callers that misbehave, and a server that is killed."""

import asyncio
import io
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from caller import Caller
from speech import decode, error_rate, phrase

# The place of a caller that vanishes is expected back within about 15 s; a slow machine gets three times that.
VANISHED_LIMIT = 45.0


def test_corrupt_opus_does_no_harm(server):
    def payloads():
        dice = random.Random(6716)
        for number in range(150):
            kind = number % 5
            if kind == 0:
                yield dice.randbytes(dice.randrange(1, 200))
            elif kind == 1:
                # Code 3 with more frames than there are bytes.
                yield bytes([0x7B, 0xBF]) + dice.randbytes(3)
            elif kind == 2:
                yield bytes([dice.randrange(256)])
            elif kind == 3:
                yield dice.randbytes(1_150)
            else:
                yield bytes([0xFF]) * 40

    async def call():
        async with await Caller.dial(server.url) as caller:
            before = await caller.ask(phrase("everything-and-nothing"))
            caller.microphone.send_raw(list(payloads()))
            await caller.microphone.spoken()
            # Whatever the rubbish was taken for ends.
            await asyncio.sleep(3)
            while len(caller.all("response.done")) < len(caller.all("response.created")):
                await asyncio.sleep(0.1)
            after = await caller.ask(phrase("talking-about"))
            return before, after

    before, after = asyncio.run(call())
    pairs = [(phrase("everything-and-nothing").text, before.transcript), (phrase("talking-about").text, after.transcript)]
    assert error_rate(pairs) <= 0.10, pairs
    assert after.status == "completed" and after.reply
    assert server.get("/health").status_code == 200


def test_a_caller_that_vanishes_gives_back_the_place(server):
    before = server.active_calls()
    script = Path(__file__).with_name("vanishing_caller.py")
    caller = subprocess.Popen([sys.executable, str(script), server.url], stdout=subprocess.PIPE, text=True)
    try:
        assert caller.stdout.readline() == "up\n"
        assert server.active_calls() == before + 1
    finally:
        caller.send_signal(signal.SIGKILL)
        caller.wait()
    killed = time.monotonic()
    while server.active_calls() > before:
        assert time.monotonic() - killed < VANISHED_LIMIT, "the call of a killed client goes on"
        time.sleep(0.2)


def test_a_killed_server_loses_no_finished_turn(own_server):
    async def call():
        caller = await Caller.dial(own_server.url)
        turns = [await caller.ask(phrase("talking-about"))]
        # The second reply is still to be heard when the server dies: done is done.
        caller.microphone.say(phrase("best-and-worst").pcm)
        done = (await caller.event("response.done", 2))["response"]
        own_server.kill()
        conversation = caller.conversation
        transcript = caller.all("conversation.item.input_audio_transcription.completed")[1]["transcript"]
        await caller.vanish()
        return turns, done, transcript, conversation

    turns, done, transcript, conversation = asyncio.run(call())
    own_server.start()
    kept = own_server.conversation(conversation)
    assert [turn["user"]["text"] for turn in kept] == [turns[0].transcript, transcript]
    assert kept[0]["assistant"]["text"] == turns[0].reply
    assert kept[1]["assistant"]["text"] == done["output"][0]["content"][0]["transcript"]
    for turn in kept:
        for side in ("user", "assistant"):
            pcm, _ = decode(io.BytesIO(own_server.get(turn[side]["audio"]).content))
            assert abs(pcm).max() > 0.02
    assert [one["id"] for one in own_server.get("/api/conversations").json()] == [conversation]
