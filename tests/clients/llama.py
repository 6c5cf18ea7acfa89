"""llama.cpp's server, as llama-cpp-python wraps it: a language model that nobody here wrote.

Building it takes longer than all other tests together, so it is used only where `AVATAR_LLAMA_PYTHON` names a Python that has it:

    python3 -m venv llama && llama/bin/pip install 'llama-cpp-python[server]==0.3.36'
"""

import os
import subprocess
import time
from pathlib import Path

import httpx

from speech import MODELS

PYTHON = os.environ.get("AVATAR_LLAMA_PYTHON")
MODEL = MODELS / "smollm2-135m-instruct" / "SmolLM2-135M-Instruct.Q4_1.gguf"
START_LIMIT = 120.0


class Llama:
    """Runs until `kill`; can be started again at the same address."""

    def __init__(self, port: int, log: Path):
        self.url, self.port, self.log = f"http://127.0.0.1:{port}", port, log
        self.start()

    def start(self) -> None:
        command = [PYTHON, "-m", "llama_cpp.server", "--model", str(MODEL), "--model_alias", "smollm2", "--n_ctx", "2048"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*command, "--port", str(self.port)], stdout=log, stderr=log)
        limit = time.monotonic() + START_LIMIT
        while True:
            try:
                if httpx.get(f"{self.url}/v1/models").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if self.process.poll() is not None or time.monotonic() > limit:
                self.kill()
                raise RuntimeError(f"llama.cpp's server does not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.1)

    def answered(self) -> int:
        """How many completions it made."""
        return self.log.read_text(errors="replace").count('"POST /v1/chat/completions HTTP/1.1" 200')

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
