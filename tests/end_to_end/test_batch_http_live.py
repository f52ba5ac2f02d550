"""A batch run whose input is behind a web server, on a real platform: what its user sees when the server fails."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from tests.support.data_server import DataServer, data_server
from tests.support.running_platform import RunningPlatform, running_platform

ROWS = 1500
LARGE = b"".join(json.dumps({"x": number, "pad": "p" * 4096}).encode() + b"\n" for number in range(ROWS))
BLOCK = 4 * 1024 * 1024


@pytest.fixture(scope="module")
def server() -> Iterator[DataServer]:
    with data_server() as found:
        yield found


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, server: DataServer) -> Iterator[RunningPlatform]:
    with running_platform(tmp_path_factory.mktemp("platform") / "data", {"batch_roots": server.url}) as found:
        found.deploy("double", "def double(x: int) -> int:\n    return 2 * x\n", idempotent=True)
        yield found


def submit(client: httpx.Client, server: DataServer, name: str = "in.jsonl") -> httpx.Response:
    return client.post("/v1/batches", json={"function": "double", "input": server.url + name})


def settled(client: httpx.Client, run: str) -> dict[str, object]:
    """The run's document once nothing happens by itself: its events end there."""
    with client.stream("GET", f"/v1/batches/{run}/events") as events:
        for _ in events.iter_lines():
            pass
    document: dict[str, object] = client.get(f"/v1/batches/{run}").json()
    return document


def test_a_broken_connection_pauses_and_resume_ends_it(platform: RunningPlatform, server: DataServer) -> None:
    server.data, server.cut_after = LARGE, BLOCK + 500_000
    with platform.client() as client:
        run = submit(client, server).json()["id"]
        paused = settled(client, run)
        problem = paused["problem"]
        assert isinstance(problem, dict)
        assert (paused["state"], problem["code"]) == ("paused", "storage_failed")
        assert server.url in problem["detail"]
        assert "resume" in problem["hint"]
        server.cut_after = None
        assert client.post(f"/v1/batches/{run}/resume", json={}).status_code == 200
        assert settled(client, run)["state"] == "succeeded"
        manifest = client.get(f"/v1/batches/{run}/output/manifest.json").json()
    assert (manifest["rows"], manifest["failed"]) == (ROWS, 0)


@pytest.mark.parametrize(("status", "answered", "code"), [(404, 404, "not_found"), (500, 507, "storage_failed")])
def test_a_server_that_has_nothing_to_give_is_told_at_once(
    platform: RunningPlatform, server: DataServer, status: int, answered: int, code: str
) -> None:
    server.status = status
    try:
        with platform.client() as client:
            refused = submit(client, server)
    finally:
        server.status = 200
    assert (refused.status_code, refused.json()["code"]) == (answered, code)
    assert server.url in refused.json()["detail"]


def test_other_places_of_the_loopback_stay_out_of_reach(platform: RunningPlatform) -> None:
    with platform.client() as client:
        spec = {"function": "double", "input": f"{platform.url}/v1/info.jsonl"}
        refused = client.post("/v1/batches", json=spec)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "STOKER_BATCH_ROOTS" in refused.json()["hint"]
