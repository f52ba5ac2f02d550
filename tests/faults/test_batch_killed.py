"""`kill -9` of the platform again and again while a batch run is at work: no row is lost, none is there twice."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.running_platform import RunningPlatform

FUNCTION = """
import hashlib

def mark(text: list[str]) -> list[str]:
    if any(each.startswith("bad") for each in text):
        raise ValueError("bad text")
    return [hashlib.sha256(each.encode()).hexdigest() for each in text]
"""
ROWS = 4000
KILLS = 4


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[RunningPlatform]:
    found = RunningPlatform(tmp_path / "data", {"batch_roots": tmp_path})
    found.start()
    yield found
    found.stop()


def write_input(path: Path) -> None:
    chance = random.Random(7)
    with path.open("w") as file:
        for number in range(ROWS):
            text = f"bad {number}" if chance.random() < 0.002 else f"text {number}"
            file.write(json.dumps({"id": f"k{number}", "text": text}) + "\n")


def start(platform: RunningPlatform, folder: Path, output: str) -> str:
    body = {
        "function": "mark",
        "input": str(folder / "in.jsonl"),
        "output": str(folder / output),
        "key": "id",
        "rows_per_part": 500,
        "max_concurrency": 64,
    }
    with platform.client() as client:
        answer = client.post("/v1/batches", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def follow(platform: RunningPlatform, batch_id: str, until_done: int) -> dict[str, Any]:
    """Watch a run until so many rows are done, or it ends; its document."""
    document: dict[str, Any] = {}
    with platform.client() as client, client.stream("GET", f"/v1/batches/{batch_id}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                document = json.loads(line.removeprefix("data: "))
                if document["progress"]["done"] >= until_done:
                    break
    return document


def rows_of(folder: Path, kind: str) -> list[str]:
    return sorted(line for path in folder.glob(f"{kind}-*.jsonl") for line in path.read_text().splitlines())


def test_a_run_that_is_killed_at_any_time_gives_what_an_undisturbed_one_gives(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    platform.deploy("mark", FUNCTION, batch={"max_batch_size": 16}, idempotent=True)
    write_input(tmp_path / "in.jsonl")
    quiet = start(platform, tmp_path, "quiet")
    assert follow(platform, quiet, ROWS + 1)["state"] == "succeeded"

    chance = random.Random(11)
    disturbed = start(platform, tmp_path, "disturbed")
    for kill in range(KILLS):
        document = follow(platform, disturbed, (kill * ROWS) // KILLS + chance.randrange(1, ROWS // KILLS))
        platform.kill()
        if (tmp_path / "disturbed").exists():  # it was quicker than the kill: all of it is there, or nothing
            assert (tmp_path / "disturbed" / "manifest.json").exists()
        else:
            assert document["state"] in ("queued", "running")
        platform.start()
    document = follow(platform, disturbed, ROWS + 1)
    assert document["state"] == "succeeded", document

    keys = [json.loads(line)["key"] for kind in ("part", "errors") for line in rows_of(tmp_path / "disturbed", kind)]
    assert sorted(keys) == sorted(f"k{number}" for number in range(ROWS))
    for kind in ("part", "errors"):
        assert rows_of(tmp_path / "disturbed", kind) == rows_of(tmp_path / "quiet", kind)
    assert not list(tmp_path.glob(".disturbed*"))
    assert not platform.faults()


def test_a_run_outlives_the_death_of_every_worker(platform: RunningPlatform, tmp_path: Path) -> None:
    platform.deploy("mark", FUNCTION, batch={"max_batch_size": 16}, idempotent=True, retries={"max_attempts": 5})
    write_input(tmp_path / "in.jsonl")
    batch_id = start(platform, tmp_path, "out")
    for done in (400, 1500):
        follow(platform, batch_id, done)
        for pid in platform.worker_pids("mark"):
            os.kill(pid, signal.SIGKILL)
    assert follow(platform, batch_id, ROWS + 1)["state"] == "succeeded"
    assert len(rows_of(tmp_path / "out", "part")) + len(rows_of(tmp_path / "out", "errors")) == ROWS
