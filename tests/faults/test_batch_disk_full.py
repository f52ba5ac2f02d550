"""No space left under a batch run: it waits for a person, or for the room, and nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.running_platform import RunningPlatform, running_platform

LONG = "def long(x: list[int]) -> list[str]:\n    return [str(each) * 2000 for each in x]\n"
ROWS = 2000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a file system of its own can be mounted by root alone")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[RunningPlatform]:
    with running_platform(tmp_path / "data", {"batch_roots": tmp_path}) as found:
        found.deploy("long", LONG, batch={"max_batch_size": 16})
        yield found


def last_of(client: httpx.Client, batch_id: str) -> dict[str, Any]:
    document: dict[str, Any] = {}
    with client.stream("GET", f"/v1/batches/{batch_id}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                document = json.loads(line.removeprefix("data: "))
    return document


def test_a_run_without_room_for_its_output_pauses_and_goes_on(
    platform: RunningPlatform, small_disk: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text("".join(f'{{"x": {number}}}\n' for number in range(ROWS)))
    spec = {
        "function": "long",
        "input": str(tmp_path / "in.jsonl"),
        "output": str(small_disk / "out"),
        "rows_per_part": 200,
    }
    with platform.client() as client:
        made = client.post("/v1/batches", json=spec).json()
        document = last_of(client, made["id"])
        assert document["state"] == "paused", document
        assert "No space left" in document["problem"]["detail"]
        assert "resume" in document["problem"]["hint"]
        assert not (small_disk / "out").exists()
        assert client.post(f"/v1/batches/{made['id']}/resume").status_code == 200
        assert last_of(client, made["id"])["state"] == "paused"

        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
        assert client.post(f"/v1/batches/{made['id']}/resume").status_code == 200
        assert last_of(client, made["id"])["state"] == "succeeded"
    rows = [json.loads(line) for path in (small_disk / "out").glob("part-*") for line in path.read_text().splitlines()]
    assert sorted(row["key"] for row in rows) == list(range(ROWS))
    assert all(row["result"] == str(row["key"]) * 2000 for row in rows)
