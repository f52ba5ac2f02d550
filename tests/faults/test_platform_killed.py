"""`kill -9` of the platform under load, and a start on the same data: all that was told to be done is there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stoker.bundle import build_source_bundle
from tests.faults.functions import STEADY
from tests.support.running_platform import RunningPlatform


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[RunningPlatform]:
    found = RunningPlatform(tmp_path / "data")
    found.start()
    yield found
    found.stop()


def test_a_killed_platform_comes_back_with_all_it_had_confirmed(platform: RunningPlatform) -> None:
    platform.deploy("steady", STEADY, idempotent=True, scaling={"min_replicas": 1})
    with platform.client() as client:
        made = client.post("/v1/tokens", json={"name": "kept", "scopes": ["invoke"]}).json()
        client.put("/v1/secrets/KEPT", json={"value": "x"})
        client.put("/v1/functions/steady/scaling", json={"max_replicas": 2})
    confirmed: list[str] = []
    is_busy = threading.Event()

    def keep_deploying() -> None:
        with platform.client() as client:
            for number in range(10_000):
                body = {"name": f"f{number}", "source": f"def f():\n    return {number}\n", "handler": "f"}
                try:
                    answer = client.post("/v1/functions", params={"dry_run": False}, json=body)
                except httpx.HTTPError:
                    return
                if answer.status_code == 201:
                    confirmed.append(body["name"])
                if len(confirmed) == 5:
                    is_busy.set()

    def keep_calling() -> None:
        with platform.client() as client:
            while True:
                try:
                    client.post("/f/steady", json={"x": 1})
                except httpx.HTTPError:
                    return

    threads = [threading.Thread(target=work, daemon=True) for work in (keep_deploying, keep_calling, keep_calling)]
    for thread in threads:
        thread.start()
    assert is_busy.wait(30)
    platform.kill()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()

    platform.start()
    with platform.client() as client:
        known = {item["name"] for item in client.get("/v1/functions").json()["functions"]}
        assert set(confirmed) <= known
        assert client.post(f"/f/{confirmed[-1]}").json() == len(confirmed) - 1
        assert client.get("/v1/functions/steady").json()["scaling"]["max_replicas"] == 2
        assert [item["name"] for item in client.get("/v1/secrets").json()["secrets"]] == ["KEPT"]
        kept = client.post("/f/steady", json={"x": 4}, headers={"Authorization": f"Bearer {made['token']}"})
        assert kept.json() == 8
    assert not platform.faults()


def test_what_a_kill_left_half_done_is_swept_away(platform: RunningPlatform) -> None:
    platform.deploy("steady", STEADY)
    platform.kill()
    orphan = platform.data_dir / "blobs" / "ab" / ("ab" + "0" * 62)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(build_source_bundle("x = 1"))
    draft = orphan.with_name(f".{orphan.name}.1234abcd")
    draft.write_bytes(b"half")
    (platform.data_dir / "connection.json").write_text('{"url": "http://127.0.0.1:1", "to')

    platform.start()
    with platform.client() as client:
        assert client.post("/f/steady", json={"x": 1}).json() == 2
    assert not orphan.exists()
    assert not draft.exists()


def test_two_platforms_do_not_share_a_data_directory(platform: RunningPlatform) -> None:
    second = RunningPlatform(platform.data_dir)
    with pytest.raises(AssertionError, match="in use by another platform"):
        second.start()
    with platform.client() as client:
        assert client.get("/v1/pool").status_code == 200
