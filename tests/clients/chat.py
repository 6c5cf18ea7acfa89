"""A client of `/ws/chat`, written from its contract alone: JSON messages over a plain WebSocket."""

import asyncio
import base64
import io
import json
import time
import wave
from dataclasses import dataclass, field

import numpy as np
import soxr
import websockets

from speech import RATE, decode, to_int16

CHUNK_SECONDS = 0.3
PATIENCE = 120.0


@dataclass
class Answer:
    transcript: str
    partials: list[str]
    text: str
    sound: np.ndarray = field(repr=False)
    rate: int = 0


class Chat:
    """One talk. Sends silence between phrases if `sends_silence`, or nothing at all, as a client that detects speech itself."""

    def __init__(self, socket, rate: int, sends_silence: bool):
        self.socket, self.rate, self.sends_silence = socket, rate, sends_silence
        self.messages: list[dict] = []
        self._queue: list[np.ndarray] = []
        self._tasks = [asyncio.ensure_future(self._read()), asyncio.ensure_future(self._speak())]

    @classmethod
    async def open(cls, url: str, rate: int = 16_000, sends_silence: bool = True, query: str = "", **how) -> "Chat":
        address = url.replace("http", "ws", 1) + "/ws/chat" + query
        return cls(await websockets.connect(address, max_size=None, **how), rate, sends_silence)

    async def __aenter__(self) -> "Chat":
        return self

    async def __aexit__(self, *_) -> None:
        await self.socket.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def send(self, message: dict) -> None:
        await self.socket.send(json.dumps(message))

    def say(self, pcm: np.ndarray) -> None:
        """Queues speech of `speech.RATE`, in chunks."""
        samples = to_int16(soxr.resample(pcm, RATE, self.rate) if self.rate != RATE else pcm)
        size = round(CHUNK_SECONDS * self.rate)
        samples = np.pad(samples, (0, -len(samples) % size))
        self._queue += list(samples.reshape(-1, size))

    def all(self, kind: str, **wanted) -> list[dict]:
        return [m for m in self.messages if m["type"] == kind and all(m.get(name) == value for name, value in wanted.items())]

    async def until(self, happened, what: str) -> None:
        limit = time.monotonic() + PATIENCE
        while not happened():
            if time.monotonic() > limit or self._tasks[0].done():
                told = [{**m, "data": None} if "data" in m else m for m in self.messages[-30:]]
                raise AssertionError(f"{what} did not come; there were {told}")
            await asyncio.sleep(0.02)

    async def ask(self, pcm: np.ndarray) -> Answer:
        """Says something and listens to the whole answer."""
        finals = len(self.all("transcription", is_final=True))
        self.say(pcm)
        await self.until(lambda: len(self.all("transcription", is_final=True)) > finals, "a final transcription")
        turn = self.all("transcription", is_final=True)[finals]["turn_id"]
        await self.until(lambda: self.all("audio_response", turn_id=turn, is_last=True), f"the last audio of {turn}")
        return self.answer(turn)

    def answer(self, turn: str) -> Answer:
        transcript = self.all("transcription", turn_id=turn, is_final=True)[0]["text"]
        partials = [m["text"] for m in self.all("transcription", turn_id=turn, is_final=False)]
        text = "".join(m["token"] for m in self.all("llm_token", turn_id=turn)).strip()
        pieces = sorted(self.all("audio_response", turn_id=turn, mode="fast"), key=lambda m: m["seq"])
        assert [m["seq"] for m in pieces] == list(range(len(pieces)))
        sounds = [play(m) for m in pieces]
        (rate,) = {rate for _, rate in sounds}
        return Answer(transcript, partials, text, np.concatenate([pcm for pcm, _ in sounds]), rate)

    async def _read(self) -> None:
        try:
            async for message in self.socket:
                self.messages.append(json.loads(message))
        except websockets.ConnectionClosed:
            pass

    async def _speak(self) -> None:
        """The microphone: a chunk each 0.3 s, when it has been recorded."""
        begun, n = time.monotonic(), 0
        while True:
            n += 1
            await asyncio.sleep(max(0.0, begun + n * CHUNK_SECONDS - time.monotonic()))
            samples = self._queue.pop(0) if self._queue else np.zeros(round(CHUNK_SECONDS * self.rate), np.int16)
            if self.sends_silence or samples.any():
                data = base64.b64encode(samples.astype("<i2").tobytes()).decode()
                await self.send({"type": "audio_chunk", "data": data, "ts": time.time(), "sr": self.rate})


def play_whole(message: dict) -> tuple[np.ndarray, int]:
    """A reply in the better voice: one message, a whole file."""
    assert (message["mode"], message["mime"], message["seq"], message["is_last"]) == ("hq", "audio/ogg", 0, True), {**message, "data": None}
    return decode(io.BytesIO(base64.b64decode(message["data"], validate=True)))


def play(message: dict) -> tuple[np.ndarray, int]:
    """A piece by itself, as a player would take it."""
    assert message["mime"] == "audio/wav", message["mime"]
    with wave.open(io.BytesIO(base64.b64decode(message["data"]))) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return samples.astype(np.float32) / 32768, file.getframerate()
