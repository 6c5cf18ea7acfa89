"""A caller made of aiortc: a microphone that says what it is told to, a recorder, and the server's events."""

import asyncio
import fractions
import json
import time
from dataclasses import dataclass, field

import aioice.ice
import av
import httpx
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from speech import RATE, Phrase, to_int16

# The server listens on loopback, which aioice leaves out.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]

FRAME = RATE // 50
TIME_BASE = fractions.Fraction(1, RATE)
# Any step of a call on a slow machine under load.
PATIENCE = 120.0
# Round a reply's audible part.
BEFORE, AFTER = 0.4, 1.0


class Microphone(MediaStreamTrack):
    """Plays what is queued in real time, and silence where nothing is."""

    kind = "audio"

    def __init__(self):
        super().__init__()
        self._queued: list[np.ndarray | bytes] = []
        self._position = 0
        self._start: float | None = None

    def say(self, pcm: np.ndarray) -> None:
        samples = to_int16(np.pad(pcm, (0, -len(pcm) % FRAME)))
        self._queued += list(samples.reshape(-1, FRAME))

    def send_raw(self, payloads: list[bytes]) -> None:
        """Queues Opus payloads, one each 20 ms, that go out as they are."""
        self._queued += payloads

    async def spoken(self) -> None:
        """Waits until all that is queued has been sent."""
        while self._queued:
            await asyncio.sleep(0.02)

    async def recv(self):
        now = asyncio.get_running_loop().time()
        self._start = now if self._start is None else self._start
        await asyncio.sleep(max(0.0, self._start + self._position / RATE - now))
        due = self._queued.pop(0) if self._queued else np.zeros(FRAME, np.int16)
        if isinstance(due, bytes):
            frame = av.Packet(due)
        else:
            frame = av.AudioFrame.from_ndarray(due[None], format="s16", layout="mono")
            frame.sample_rate = RATE
        frame.pts, frame.time_base = self._position, TIME_BASE
        self._position += FRAME
        return frame


@dataclass
class Turn:
    transcript: str
    reply: str
    status: str
    usage: dict
    item: str
    response: str
    sound: np.ndarray = field(repr=False)
    """The reply as it was heard."""


class Refused(Exception):
    """The server did not take the call."""

    def __init__(self, answer: httpx.Response):
        super().__init__(f"{answer.status_code} {answer.text}")
        self.answer = answer


class Caller:
    """One call. `async with Caller.dial(…) as caller`; the call is ended by `DELETE` when the block is left."""

    def __init__(self, url: str):
        self.url = url
        self.microphone = Microphone()
        self.events: list[tuple[float, dict]] = []
        self.location = ""
        self.etag: str | None = None
        self._heard: list[tuple[float, np.ndarray]] = []
        self._tasks: set[asyncio.Task] = set()
        self._http = httpx.AsyncClient(timeout=PATIENCE)
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peer.addTrack(self.microphone)
        self._channel = self._peer.createDataChannel("oai-events")
        self._opened = asyncio.Event()
        self._channel.on("open", self._opened.set)
        self._channel.on("message", self._take)
        self._peer.on("track", lambda track: self._spawn(self._record(track)))

    @classmethod
    async def dial(cls, url: str, way: str = "sdp", session: dict | None = None) -> "Caller":
        """Calls by `whip`, or by `/v1/realtime/calls` with a body of raw `sdp`, a `multipart` form, or `json`."""
        caller = cls(url)
        try:
            await caller._dial(way, session or {})
        except BaseException:
            await caller.vanish()
            raise
        return caller

    async def __aenter__(self) -> "Caller":
        return self

    async def __aexit__(self, *_) -> None:
        try:
            await self.hang_up()
        finally:
            await self.vanish()

    async def _dial(self, way: str, session: dict) -> None:
        await self._peer.setLocalDescription(await self._peer.createOffer())
        sdp = self._peer.localDescription.sdp
        raw = {"content": sdp, "headers": {"content-type": "application/sdp"}}
        form = {
            "sdp": (None, sdp, "application/sdp"),
            "session": (None, json.dumps({"type": "realtime", **session}), "application/json"),
        }
        path, body = {
            "whip": ("/whip", raw),
            "sdp": ("/v1/realtime/calls", raw),
            "multipart": ("/v1/realtime/calls", {"files": form}),
            "json": ("/v1/realtime/calls", {"json": {"sdp": sdp, "session": {"type": "realtime", **session}}}),
        }[way]
        answer = await self._http.post(self.url + path, **body)
        if answer.status_code != 201:
            raise Refused(answer)
        assert answer.headers["content-type"] == "application/sdp"
        self.location = answer.headers["location"]
        self.etag = answer.headers.get("etag")
        await self._peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        await asyncio.wait_for(self._opened.wait(), PATIENCE)
        await self.event("session.created")

    async def hang_up(self) -> httpx.Response:
        return await self._http.delete(self.url + self.location)

    async def vanish(self) -> None:
        """Closes this end alone."""
        self.microphone.stop()
        await self._peer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    def send(self, event: dict) -> None:
        self._channel.send(json.dumps(event))

    @property
    def conversation(self) -> str:
        return self.all("session.created")[0]["session"]["avatar"]["conversation_id"]

    def all(self, kind: str) -> list[dict]:
        return [event for _, event in self.events if event["type"] == kind]

    async def event(self, kind: str, number: int = 1, patience: float = PATIENCE, **wanted) -> dict:
        """The `number`th event of a kind whose fields are as wanted; waits for it."""

        def found() -> list[dict]:
            return [e for e in self.all(kind) if all(e.get(name) == value for name, value in wanted.items())]

        await self._until(lambda: len(found()) >= number, patience, f"{kind} {wanted}")
        return found()[number - 1]

    async def ask(self, phrase: Phrase) -> Turn:
        """Says a phrase and listens to the reply until its end."""
        turns = len(self.all("input_audio_buffer.committed"))
        replies = len(self.all("response.created"))
        self.microphone.say(phrase.pcm)
        committed = await self.event("input_audio_buffer.committed", turns + 1)
        item = committed["item_id"]
        transcript = await self.event("conversation.item.input_audio_transcription.completed", item_id=item)
        return await self.reply(replies + 1, item=item, transcript=transcript["transcript"])

    async def write(self, text: str) -> Turn:
        """Sends a message in writing and listens to the reply until its end."""
        replies = len(self.all("response.created"))
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        self.send({"type": "conversation.item.create", "item": item})
        self.send({"type": "response.create"})
        return await self.reply(replies + 1, transcript=text)

    async def reply(self, number: int, transcript: str, item: str = "") -> Turn:
        """The `number`th reply of the call, once it has been heard to its end."""
        response = (await self.event("response.created", number))["response"]["id"]
        finished = lambda: [e["response"] for e in self.all("response.done") if e["response"]["id"] == response]
        await self._until(finished, PATIENCE, f"response.done of {response}")
        done = finished()[0]
        said = next((e["transcript"] for e in self.all("response.output_audio_transcript.done") if e["response_id"] == response), "")
        sound = np.zeros(0, np.float32)
        if done["status"] == "completed" and said:
            await self.event("output_audio_buffer.started", response_id=response)
            await self.event("output_audio_buffer.stopped", response_id=response)
            await asyncio.sleep(AFTER)
            times = {e["type"]: at for at, e in self.events if e.get("response_id") == response}
            begin, end = times["output_audio_buffer.started"], times["output_audio_buffer.stopped"]
            sound = self.heard(begin - BEFORE, end + AFTER)
        return Turn(transcript, said, done["status"], done["usage"], item, response, sound)

    def heard(self, begin: float, end: float) -> np.ndarray:
        """What came in between two times."""
        return np.concatenate([np.zeros(0, np.float32)] + [pcm for at, pcm in self._heard if begin <= at <= end])

    def _spawn(self, work) -> None:
        self._tasks.add(asyncio.ensure_future(work))

    def _take(self, message: str) -> None:
        self.events.append((time.monotonic(), json.loads(message)))

    async def _until(self, happened, patience: float, what: str) -> None:
        limit = time.monotonic() + patience
        while not happened():
            if time.monotonic() > limit:
                kinds = [event["type"] for _, event in self.events]
                raise AssertionError(f"{what} did not come; there were {kinds[-30:]}, errors: {self.all('error')}")
            await asyncio.sleep(0.02)

    async def _record(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels)).astype(np.float32)
                self._heard.append((time.monotonic(), samples.mean(axis=1) / 32768))
        except MediaStreamError:
            pass
