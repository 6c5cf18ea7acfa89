"""Offers that cannot be taken: each is told why, and leaves nothing behind."""

import asyncio
import json
import time

import httpx
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

SDP = {"content-type": "application/sdp"}
JSON = {"content-type": "application/json"}
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def offer() -> str:
    """A good one."""

    async def make() -> str:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer.addTransceiver("audio")
        peer.createDataChannel("oai-events")
        await peer.setLocalDescription(await peer.createOffer())
        sdp = peer.localDescription.sdp
        await peer.close()
        return sdp

    return asyncio.run(make())


def without_audio(sdp: str) -> str:
    session, *media = sdp.split("m=")
    data = "".join(f"m={part}" for part in media if part.startswith("application"))
    groups = session.replace("BUNDLE 0 1", "BUNDLE 1")
    return groups + data


def with_unknown_codec(sdp: str) -> str:
    for codec in ("opus", "PCMU", "PCMA", "G722"):
        sdp = sdp.replace(f" {codec}/", " wombat/")
    # Static payload types need no name.
    return sdp.replace(" 0 8\r\n", "\r\n").replace(" 9 0 8\r\n", "\r\n")


def cut_short(sdp: str) -> str:
    return sdp[: sdp.index("a=ice-ufrag")]


BAD = {
    "empty": (lambda sdp: ("", SDP), 400),
    "blank": (lambda sdp: (" \r\n \r\n", SDP), 400),
    "no sdp at all": (lambda sdp: ("hello", SDP), 400),
    "not utf-8": (lambda sdp: (b"v=0\r\n\xff\xfe\r\n", SDP), 400),
    "malformed line": (lambda sdp: ("v=0\r\nthis is no line of sdp\r\n", SDP), 400),
    "no media": (lambda sdp: (sdp.split("m=")[0], SDP), 400),
    "cut short": (lambda sdp: (cut_short(sdp), SDP), 400),
    "no audio": (lambda sdp: (without_audio(sdp), SDP), 400),
    "unknown codec": (lambda sdp: (with_unknown_codec(sdp), SDP), 400),
    "over a mebibyte": (lambda sdp: (sdp + "a=x-padding:" + "x" * MEBIBYTE, SDP), 413),
    "wrong content type": (lambda sdp: (sdp, {"content-type": "text/plain"}), 415),
    "no content type": (lambda sdp: (sdp.encode(), {}), 415),
}
BAD_REALTIME = {
    "json without sdp": (lambda sdp: (json.dumps({"session": {"type": "realtime"}}), JSON), 400),
    "json with an empty sdp": (lambda sdp: (json.dumps({"sdp": ""}), JSON), 400),
    "json with a number for sdp": (lambda sdp: (json.dumps({"sdp": 1}), JSON), 400),
    "broken json": (lambda sdp: ('{"sdp": "v=0', JSON), 400),
    "json with a bad session": (lambda sdp: (json.dumps({"sdp": sdp, "session": {"type": "realtime", "instructions": 7}}), JSON), 400),
    "form without a boundary": (lambda sdp: ("--x", {"content-type": "multipart/form-data"}), 400),
    "form without sdp": (
        lambda sdp: (
            '--x\r\nContent-Disposition: form-data; name="session"\r\n\r\n{}\r\n--x--\r\n',
            {"content-type": "multipart/form-data; boundary=x"},
        ),
        400,
    ),
}
TABLE = [("/whip", name) for name in BAD] + [("/v1/realtime/calls", name) for name in (*BAD, *BAD_REALTIME)]


@pytest.mark.parametrize("path, name", TABLE)
def test_bad_offer(server, offer, path, name):
    make, status = {**BAD, **BAD_REALTIME}[name]
    content, headers = make(offer)
    answer = httpx.post(server.url + path, content=content, headers=headers, timeout=60)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"type", "code", "message", "param"}
    assert error["type"] == "invalid_request_error" and error["code"] and len(error["message"]) > 10
    assert server.active_calls() == 0


@pytest.mark.parametrize("path", ["/whip/rtc_none", "/v1/realtime/calls/rtc_none", "/whip/%F0%9F%90%9F", "/v1/realtime/calls/" + "x" * 4000])
def test_unknown_call(server, path):
    answer = httpx.delete(server.url + path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "call_not_found"


def test_unknown_call_cannot_be_hung_up_or_changed(server):
    assert httpx.post(f"{server.url}/v1/realtime/calls/rtc_none/hangup").status_code == 404
    fragment = {"content-type": "application/trickle-ice-sdpfrag", "if-match": '"x"'}
    answer = httpx.patch(f"{server.url}/whip/rtc_none", content="a=end-of-candidates\r\n", headers=fragment)
    assert answer.status_code == 404


def test_abandoned_offers_give_back_their_places(own_server, offer):
    """Good offers whose callers never come: the server is full for a while, and then free again."""

    def call() -> httpx.Response:
        return httpx.post(f"{own_server.url}/whip", content=offer, headers=SDP, timeout=60)

    assert [call().status_code for _ in range(6)] == [201] * 5 + [503]
    limit = time.monotonic() + 90
    while (answer := call()).status_code == 503:
        assert time.monotonic() < limit, "abandoned offers keep their places"
        time.sleep(0.5)
    assert answer.status_code == 201
    assert httpx.delete(own_server.url + answer.headers["location"]).status_code == 200
