"""Engines on another server: whole calls through them, and what becomes of a call when that server dies in its middle."""

import asyncio
import time

import pytest

import llama
from caller import Caller
from server import Server, doctor, free_port, transcribe
from speech import error_rate, phrase

# Time limits are for people; a slow machine under load gets more.
PATIENT = {
    "AVATAR_REMOTE_CONNECT_TIMEOUT": "10s",
    "AVATAR_REMOTE_LLM_FIRST_TIMEOUT": "60s",
    "AVATAR_REMOTE_LLM_PAUSE_TIMEOUT": "60s",
    "AVATAR_REMOTE_LLM_TOTAL_TIMEOUT": "2m",
    "AVATAR_REMOTE_STT_FIRST_TIMEOUT": "60s",
    "AVATAR_REMOTE_TTS_FIRST_TIMEOUT": "60s",
    "AVATAR_REMOTE_TTS_PAUSE_TIMEOUT": "60s",
    "AVATAR_REMOTE_TTS_TOTAL_TIMEOUT": "2m",
}
# The first failure opens the breaker, and it is soon tried again.
NERVOUS = {"AVATAR_REMOTE_FAILURES": "1", "AVATAR_REMOTE_RETRIES": "0", "AVATAR_REMOTE_REST": "300ms"}
SHORT = {"AVATAR_SESSION_MAX_REPLY_TOKENS": "24"}
KEY = "a-key-that-must-not-be-logged"


def _until(happened, what: str) -> None:
    limit = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < limit, f"{what} does not happen"
        time.sleep(0.1)


def _model(server: Server, kind: str) -> dict:
    return server.get("/health").json()["models"][kind]


def _lose_and_regain(avatar: Server, lose, regain) -> list:
    """One call of three turns: with the other server, without it, and with it again."""

    async def call():
        turns = []
        async with await Caller.dial(avatar.url) as caller:
            turns.append(await caller.ask(phrase("talking-about")))
            await asyncio.to_thread(lose)
            turns.append(await caller.ask(phrase("everything-and-nothing")))
            await asyncio.to_thread(regain)
            await asyncio.to_thread(_until, lambda: _model(avatar, "llm")["state"] == "ready", "knocking")
            turns.append(await caller.ask(phrase("the-ditch")))
            assert caller.all("error") == []
        return turns

    return asyncio.run(call())


def _check(avatar: Server, turns: list) -> None:
    assert [turn.status for turn in turns] == ["completed"] * 3
    assert all(turn.reply for turn in turns), turns
    pairs = [(turn.reply, transcribe(turn.sound)) for turn in turns]
    assert error_rate(pairs) <= 0.25, pairs
    log = avatar.log.read_text()
    assert "another engine takes over" in log and "the first engine answers again" in log, log[-4000:]
    assert "a remote engine works again" in log, log[-4000:]


@pytest.mark.skipif(llama.PYTHON is None, reason="AVATAR_LLAMA_PYTHON names no Python with llama-cpp-python's server")
def test_a_call_outlives_the_death_of_llama_cpp(tmp_path):
    model = llama.Llama(free_port(), tmp_path / "llama.log")
    settings = {"AVATAR_ENGINES_LLM": "remote", "AVATAR_REMOTE_LLM_URL": model.url, **PATIENT, **NERVOUS, **SHORT}
    avatar = Server(tmp_path, **settings)
    answered = []
    states = []

    def lose():
        answered.append(model.answered())
        model.kill()

    def regain():
        states.append((avatar.get("/health").json()["status"], _model(avatar, "llm")["state"]))
        answered.append(model.answered())
        model.start()

    try:
        turns = _lose_and_regain(avatar, lose, regain)
        answered.append(model.answered())
        _check(avatar, turns)
        assert states == [("degraded", "degraded")]
        # It made the first reply and the third, and not the second.
        assert answered[0] >= 1 and answered[1] == answered[0] and answered[2] > answered[1], answered
    finally:
        avatar.stop()
        model.kill()


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another Avatar, with a key; its engines are asked by the one under test."""
    running = Server(tmp_path_factory.mktemp("other"), AVATAR_API_KEYS=KEY)
    yield running
    running.stop()


def _asks(other: Server, *kinds: str) -> dict[str, str]:
    settings = {**PATIENT, **SHORT}
    for kind in kinds:
        settings[f"AVATAR_ENGINES_{kind.upper()}"] = "remote"
        settings[f"AVATAR_REMOTE_{kind.upper()}_URL"] = other.url
        settings[f"AVATAR_REMOTE_{kind.upper()}_API_KEY"] = KEY
    return settings


def test_one_avatar_hears_thinks_and_speaks_with_another(tmp_path, other):
    nobody = {f"AVATAR_ENGINES_{kind}_FALLBACK": "off" for kind in ("STT", "LLM", "TTS")}
    avatar = Server(tmp_path, **_asks(other, "stt", "llm", "tts"), **nobody)
    said = [phrase("talking-about"), phrase("everything-and-nothing")]

    async def call():
        async with await Caller.dial(avatar.url) as caller:
            return [await caller.ask(each) for each in said], caller.all("error")

    try:
        turns, faults = asyncio.run(call())
        assert faults == []
        assert [turn.status for turn in turns] == ["completed"] * 2
        pairs = [(each.text, turn.transcript) for each, turn in zip(said, turns)]
        assert error_rate(pairs) <= 0.10, pairs
        pairs = [(turn.reply, transcribe(turn.sound)) for turn in turns]
        assert error_rate(pairs) <= 0.25, pairs
        # The other one found the beginning of the conversation in its cache.
        assert turns[1].usage["input_token_details"]["cached_tokens"] > 0, turns[1].usage
        assert KEY not in avatar.log.read_text() + other.log.read_text()
    finally:
        avatar.stop()


def test_a_call_outlives_the_death_of_another_avatar(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "other").mkdir()
    other = Server(tmp_path / "other", AVATAR_API_KEYS=KEY)
    avatar = Server(tmp_path / "own", **_asks(other, "llm"), **NERVOUS)
    states = []

    def regain():
        states.append((avatar.get("/health").json()["status"], _model(avatar, "llm")["state"]))
        other.start()

    try:
        _check(avatar, _lose_and_regain(avatar, other.kill, regain))
        assert states == [("degraded", "degraded")]
    finally:
        avatar.stop()
        other.stop()


def test_doctor_says_what_ails_a_server(tmp_path):
    settings = {"AVATAR_ENGINES_LLM": "remote", "AVATAR_REMOTE_LLM_URL": f"http://127.0.0.1:{free_port()}"}
    ran = doctor(tmp_path, **settings)
    line = next(line for line in ran.splitlines() if "remote llm" in line)
    assert line.startswith("warn") and "no connection" in line and "[remote.llm]" in line, ran
