"""One real platform for the whole folder: whatever it has been sent, it must serve the next test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bad_input.functions import BATCHED, ECHO, SOUND_CALLS, STREAMING, TYPED
from tests.support.raw_http import exchange, parse_answers, request_bytes
from tests.support.running_platform import RunningPlatform, running_platform

TIGHT = {
    "gateway_max_body_bytes": 1024 * 1024,
    "gateway_max_upload_bytes": 2 * 1024 * 1024,
    "gateway_header_timeout_s": 0.5,
    "gateway_body_timeout_s": 0.5,
    "gateway_linger_s": 0.2,
}


@pytest.fixture(scope="session")
def bad_input_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with running_platform(Path(tmp_path_factory.mktemp("bad-input"), "data"), TIGHT) as platform:
        platform.deploy("echo", ECHO)
        platform.deploy("typed", TYPED)
        platform.deploy("batched", BATCHED, batch={"max_batch_size": 8})
        platform.deploy("streaming", STREAMING)
        yield platform


@pytest.fixture
def platform(bad_input_platform: RunningPlatform) -> Iterator[RunningPlatform]:
    """The platform, which after the test still answers sound calls and has logged no fault of its own."""
    known = len(bad_input_platform.faults())
    yield bad_input_platform
    for function, body, expected in SOUND_CALLS:
        data = request_bytes("POST", f"/f/{function}", {"Authorization": f"Bearer {bad_input_platform.token}"}, body)
        with bad_input_platform.connect() as connection:
            (answer,) = parse_answers(exchange(connection, data))
        assert (answer.status, answer.body) == (200, expected), f"{function}: {answer}"
    assert not bad_input_platform.faults()[known:]
