"""Starts, stops, kills and restarts: what was answered with success is there, and nothing else is left."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.platform_process import PlatformProcess, platform_process, register

EXIT_LIMIT_S = 10.0
SLOW = "import time\ndef slow(seconds):\n    time.sleep(seconds)\n    return 'done'"


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[PlatformProcess]:
    with platform_process(tmp_path / "data") as running:
        yield running


def descendants(pid: int) -> set[int]:
    """All processes below ``pid``."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*"):
            children = {int(child) for child in (task / "children").read_text().split()}
            waiting += children - found
            found |= children
    return found


def test_a_restart_keeps_everything(platform: PlatformProcess) -> None:
    token = platform.token
    with platform.client() as client:
        for number in (1, 2):
            register(client, "kept", f"def kept(): return {number}")
        client.put("/v1/functions/kept/aliases/prod", json={"revision": 1})
        client.put("/v1/functions/kept/scaling", json={"max_replicas": 2})
        client.put("/v1/secrets/API_KEY", json={"value": "hidden"})
        register(client, "reads", "import os\ndef reads(): return os.environ['API_KEY']", secrets=["API_KEY"])
        before = client.get("/v1/functions/kept").json()
    assert platform.stop() == 0
    platform.start()
    assert platform.token == token
    with platform.client() as client:
        after = client.get("/v1/functions/kept").json()
        for member in ("revisions", "aliases", "scaling", "schema", "created_at"):
            assert after[member] == before[member]
        assert client.post("/f/kept", json={}).text == "2"
        assert client.post("/f/kept@prod", json={}).text == "1"
        assert client.post("/f/reads", json={}).json() == "hidden"
        assert register(client, "kept", "def kept(): return 2")["created"] is False


def test_a_stop_lets_the_running_call_end(platform: PlatformProcess) -> None:
    answers: list[tuple[int, str]] = []
    with platform.client() as client:
        register(client, "slow", SLOW)
        client.post("/f/slow", json={"seconds": 0})

        def call() -> None:
            with platform.client() as own:
                answer = own.post("/f/slow", json={"seconds": 1.0})
                answers.append((answer.status_code, answer.text))

        caller = threading.Thread(target=call)
        caller.start()
        while client.get("/v1/functions/slow").json()["stats"]["in_flight"] == 0:
            assert caller.is_alive()
    assert platform.stop() == 0
    caller.join()
    assert answers == [(200, '"done"')]


def test_a_killed_platform_leaves_no_process_and_starts_again(platform: PlatformProcess) -> None:
    with platform.client() as client:
        register(client, "double", "def double(x): return x * 2")
        assert client.post("/f/double", json={"x": 2}).text == "4"
    below = descendants(platform.pid)
    assert below
    watched = {pid: os.pidfd_open(pid) for pid in below}
    platform.kill()
    for descriptor in watched.values():
        ended, _, _ = select.select([descriptor], [], [], EXIT_LIMIT_S)
        os.close(descriptor)
        assert ended
    platform.start()
    with platform.client() as client:
        assert client.post("/f/double", json={"x": 3}).text == "6"


def test_a_second_platform_on_the_same_data_is_refused(platform: PlatformProcess) -> None:
    done = platform.cli("serve", "--port", "0", "--data-dir", str(platform.data_dir))
    assert done.returncode != 0
    assert "in use by another platform" in done.stderr
    with platform.client() as client:
        assert client.get("/readyz").status_code == 200


def test_a_port_in_use_is_told(platform: PlatformProcess, tmp_path: Path) -> None:
    port = platform.url.rpartition(":")[2]
    done = platform.cli("serve", "--port", port, "--data-dir", str(tmp_path / "other"))
    assert done.returncode != 0
    assert "cannot be listened on" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupt_stops_it_in_order(platform: PlatformProcess) -> None:
    os.kill(platform.pid, signal.SIGINT)
    assert platform.stop() == 0
    assert platform.said[-1].strip() == "Stopped."


def test_a_second_signal_ends_it_at_once(platform: PlatformProcess) -> None:
    with platform.client() as client:
        register(client, "slow", SLOW)
        client.post("/f/slow", json={"seconds": 0})
        caller = threading.Thread(target=hang, args=(platform,))
        caller.start()
        while client.get("/v1/functions/slow").json()["stats"]["in_flight"] == 0:
            assert caller.is_alive()
    below = descendants(platform.pid)
    os.kill(platform.pid, signal.SIGTERM)
    platform.hear("draining")
    assert platform.stop() == 0
    caller.join()
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]
    assert "Traceback" not in "".join(platform.said)


def test_replicas_that_must_stay_are_there_after_a_restart(platform: PlatformProcess) -> None:
    with platform.client() as client:
        register(client, "kept", "def kept(): return 1", scaling={"min_replicas": 1})
        until_ready(client, "kept")
    platform.stop()
    platform.start()
    with platform.client() as client:
        until_ready(client, "kept")
        assert client.post("/f/kept?receipt=1", json={}).json()["receipt"]["cold"] is False


def test_a_saved_file_is_deployed_again(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    source = "import stoker\n\n@stoker.function\ndef answer() -> int:\n    return {}\n"
    app.write_text(source.format(1))
    with platform_process(tmp_path / "data", "--reload", str(app)) as platform, platform.client() as client:
        platform.hear("answer\t1\tcreated")
        assert client.post("/f/answer", json={}).text == "1"
        app.write_text(source.format(2))
        platform.hear("answer\t2\tcreated")
        assert client.post("/f/answer", json={}).text == "2"


def hang(platform: PlatformProcess) -> None:
    """A call that is broken off by the end of the platform."""
    with platform.client() as client, contextlib.suppress(httpx.HTTPError):
        client.post("/f/slow", json={"seconds": 600})


def until_ready(client: httpx.Client, name: str) -> None:
    """Ask until the function has a ready replica."""
    for _ in range(5000):
        replicas = client.get(f"/v1/functions/{name}").json()["replicas"]
        if any(replica["state"] == "ready" for replica in replicas):
            return
    raise AssertionError(f"{name} has no replica")
