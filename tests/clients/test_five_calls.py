"""Five calls at once, and one too many."""

import asyncio
import io
from itertools import combinations

import pytest

from caller import Caller, Refused
from server import transcribe
from speech import decode, error_rate, errors, phrases, words

# Ways to call, each with what that caller says.
CALLS = [
    ("whip", ("talking-about", "incredulity")),
    ("sdp", ("best-and-worst", "foolishness")),
    ("multipart", ("everything-and-nothing", "in-short")),
    ("json", ("hope-and-despair", "the-other-way")),
    ("whip", ("the-ditch", "superlative")),
]


@pytest.fixture(scope="module")
def five(server):
    """What came of five calls: for each the phrases, the turns, the conversation; and the answers to a sixth."""

    async def run():
        callers = await asyncio.gather(*(Caller.dial(server.url, way) for way, _ in CALLS))
        try:
            sixth = []
            for way in ("sdp", "whip"):
                with pytest.raises(Refused) as refused:
                    await Caller.dial(server.url, way)
                sixth.append(refused.value.answer)

            async def talk(caller, ids):
                return [await caller.ask(phrase) for phrase in phrases(*ids)]

            turns = await asyncio.gather(*(talk(caller, ids) for caller, (_, ids) in zip(callers, CALLS)))
            # A place that is given back can be taken.
            await callers[0].hang_up()
            for _ in range(300):
                if server.active_calls() < 5:
                    break
                await asyncio.sleep(0.1)
            async with await Caller.dial(server.url) as late:
                admitted = late.conversation
            return list(zip([phrases(*ids) for _, ids in CALLS], turns, [c.conversation for c in callers])), sixth, admitted
        finally:
            await asyncio.gather(*(caller.hang_up() for caller in callers))
            await asyncio.gather(*(caller.vanish() for caller in callers))

    return asyncio.run(run())


def test_a_sixth_call_is_told_when_to_come_back(five):
    _, sixth, admitted = five
    for answer in sixth:
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["code"] == "server_full"
    assert admitted


def test_each_caller_is_understood(five):
    calls, *_ = five
    pairs = [(said.text, turn.transcript) for phrases, turns, _ in calls for said, turn in zip(phrases, turns)]
    assert error_rate(pairs) <= 0.10, pairs
    for said, heard in pairs:
        closest = min((text for text, _ in pairs), key=lambda text: errors(text, heard) / len(words(text)))
        assert closest == said, f"{said!r} was heard as {heard!r}"


def test_each_caller_is_answered(five):
    calls, *_ = five
    for _, turns, _ in calls:
        assert [turn.status for turn in turns] == ["completed"] * len(turns)
        assert all(turn.reply for turn in turns)


def test_each_caller_hears_the_own_reply(five):
    calls, *_ = five
    pairs = [(turn.reply, transcribe(turn.sound)) for _, turns, _ in calls for turn in turns]
    assert error_rate(pairs) <= 0.25, pairs


def test_no_conversation_has_anything_of_another(server, five):
    calls, *_ = five
    for (_, _, one), (_, _, other) in combinations(calls, 2):
        assert one != other
    for said, turns, conversation in calls:
        kept = server.conversation(conversation)
        assert [turn["user"]["text"] for turn in kept] == [turn.transcript for turn in turns]
        assert [turn["assistant"]["text"] for turn in kept] == [turn.reply for turn in turns]
        for turn, phrase in zip(kept, said):
            pcm, rate = decode(io.BytesIO(server.get(turn["user"]["audio"]).content))
            assert abs(pcm).max() > 0.02
            # The kept sound is this caller's: about as long as the phrase, with the pause and the pre-roll.
            assert abs(len(pcm) / rate - len(phrase.pcm) / 48_000) < 2.0
