import logging

import pytest

from server import Server

# They tell of every candidate.
logging.getLogger("aioice").setLevel(logging.WARNING)


# Of a reply. Audio plays in real time: short replies keep the tests short, and a caller who is lost is not waited for long.
SHORT = {"AVATAR_SESSION_MAX_REPLY_TOKENS": "24", "AVATAR_SESSION_RESUME_SECONDS": "5"}


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server for all tests that leave it as it was."""
    running = Server(tmp_path_factory.mktemp("server"), **SHORT)
    yield running
    running.stop()


@pytest.fixture
def own_server(tmp_path):
    """A server that a test may treat as it likes."""
    running = Server(tmp_path, **SHORT)
    yield running
    running.stop()
