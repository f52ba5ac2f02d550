"""A full disk: what is warm serves on, what needs the disk says so, and all is well once there is room again."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.running_platform import RunningPlatform, running_platform

CHATTY = "def chatty(x):\n    print('y' * 5000)\n    return x\n"
COLD = "def cold(x):\n    return x\n"
BIG = "def big():\n    return 1\nTEXT = '''" + os.urandom(300_000).hex() + "'''\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a file system of its own can be mounted by root alone")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all that is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    return filler


def assert_is_problem(answer: httpx.Response) -> None:
    document = answer.json()
    assert answer.status_code in (503, 507), answer.text
    assert "space" in document["detail"], document
    assert document["retryable"], document
    assert document["hint"], document


def test_a_full_disk_is_survived(small_disk: Path) -> None:
    with running_platform(small_disk / "data") as platform, platform.client() as client:
        platform.deploy("chatty", CHATTY)
        platform.deploy("cold", COLD, scaling={"keep_alive_s": 0})
        assert client.post("/f/chatty", json={"x": 1}).json() == 1
        filler = fill(small_disk)

        assert [client.post("/f/chatty", json={"x": number}).json() for number in range(20)] == list(range(20))
        assert_is_problem(client.post("/v1/functions", json={"name": "big", "source": BIG, "handler": "big"}))
        assert client.post("/f/cold", json={"x": 1}).status_code in (200, 503)
        assert client.get("/v1/functions").status_code == 200

        filler.unlink()
        client.post("/v1/functions/cold/retry")
        assert client.post("/f/cold", json={"x": 1}).json() == 1
        answer = client.post("/v1/functions", json={"name": "big", "source": BIG, "handler": "big"})
        assert answer.status_code == 201, answer.text
        assert client.post("/f/big").json() == 1
        assert_stays(platform)


def assert_stays(platform: RunningPlatform) -> None:
    """It never went down."""
    assert platform.process.poll() is None


def test_jobs_on_a_full_disk_are_refused_with_a_reason_and_none_is_lost(small_disk: Path) -> None:
    asks_for_a_job = {"Prefer": "respond-async"}
    with running_platform(small_disk / "data") as platform, platform.client() as client:
        platform.deploy("chatty", CHATTY, idempotent=True)
        kept = [client.post("/f/chatty", json={"x": n}, headers=asks_for_a_job).json()["url"] for n in range(10)]
        filler = fill(small_disk)

        refused = client.post("/f/chatty", json={"x": "y" * 200_000}, headers=asks_for_a_job)
        assert_is_problem(refused)
        assert client.post("/f/chatty", json={"x": 1}).json() == 1

        filler.unlink()
        kept.append(client.post("/f/chatty", json={"x": 10}, headers=asks_for_a_job).json()["url"])
        for number, url in enumerate(kept):
            answer = client.get(f"{url}/result", params={"wait": 30})
            assert (answer.status_code, answer.json()) == (200, number)
