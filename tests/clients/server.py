"""The server under test: started on a free port with its own data folder, ended by its process id."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

from speech import MODELS, ROOT, write_wav

BINARY = Path(os.environ.get("AVATAR_BIN", ROOT / "target" / "debug" / "avatar")).resolve()
# The likeliest words every time, so that what a run says can be said again.
ENVIRONMENT = {**os.environ, "AVATAR_MODELS": str(MODELS), "AVATAR_SESSION_TEMPERATURE": "0"}
# Models load before the server answers; a slow machine under load takes its time.
START_LIMIT = 120.0
STOP_LIMIT = 15.0


class Server:
    """Runs until `stop` or `kill`; can be started again on the same data."""

    def __init__(self, data_dir: Path, **settings: str):
        self.data_dir = data_dir
        self.settings = settings
        # Kept when it is started again.
        self.port: int | None = None
        self.start()

    def start(self) -> None:
        port = self.port or free_port()
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        command = [str(BINARY), "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", str(self.data_dir)]
        self.log = self.data_dir / "server.log"
        with self.log.open("ab") as log:
            # Its working folder is its own, so that no stray configuration file is read.
            self.process = subprocess.Popen(
                command, cwd=self.data_dir, env={**ENVIRONMENT, **self.settings}, stdout=log, stderr=log
            )
        limit = time.monotonic() + START_LIMIT
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"{BINARY} ended ({self.process.returncode}):\n{self.log.read_text()[-4000:]}")
            try:
                if httpx.get(f"{self.url}/health").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > limit:
                self.kill()
                raise RuntimeError(f"the server does not become healthy:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends it as an administrator would."""
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30)

    def active_calls(self) -> int:
        return self.get("/health").json()["calls"]["active"]

    def conversation(self, id: str) -> list[dict]:
        """The turns that are kept of a conversation."""
        answer = self.get(f"/api/conversations/{id}")
        assert answer.status_code == 200, answer.text
        return answer.json()["turns"]


def transcribe(pcm: np.ndarray) -> str:
    """What the server's own recogniser makes of a sound; nothing of no sound."""
    if len(pcm) == 0:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.wav"
        write_wav(path, pcm)
        command = [str(BINARY), "transcribe", str(path)]
        ran = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def doctor(folder: Path, **settings: str) -> str:
    """What `avatar doctor` prints in a folder."""
    command = [str(BINARY), "doctor", "--data-dir", str(folder)]
    ran = subprocess.run(command, cwd=folder, env={**ENVIRONMENT, **settings}, capture_output=True, text=True, timeout=120)
    return ran.stdout


def free_port() -> int:
    """A port that is free for TCP and for UDP: the server takes both."""
    for _ in range(20):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")
