"""Schedules on a real platform: deployed, told, killed in the midst of ticking; no tick lost, none twice."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from tests.support.running_platform import RunningPlatform, running_platform
from tests.support.webhook_receiver import Message, receiver

from stoker.webhook import verify_webhook

SOURCE = """
def note(at: str) -> str:
    return at

def fail(at: str) -> str:
    raise ValueError(at)
"""


def runs_of(platform: RunningPlatform, name: str) -> list[dict[str, object]]:
    with platform.client() as client:
        found: list[dict[str, object]] = client.get(f"/v1/schedules/{name}/runs", params={"limit": 500}).json()["runs"]
    return found


def test_a_deploy_makes_changes_and_removes_the_schedule(tmp_path: Path) -> None:
    with running_platform(tmp_path / "data") as platform, platform.client() as client:
        platform.deploy("note", SOURCE, schedule={"cron": "0 2 * * *", "timezone": "Asia/Kolkata"})
        made = client.get("/v1/schedules/note").json()
        assert (made["origin"], len(made["next"])) == ("deploy", 5)
        assert all(tick.endswith("T02:00:00+05:30") for tick in made["next"])
        assert client.post("/v1/schedules/note/pause").json()["paused"]
        platform.deploy("note", SOURCE, schedule={"every_s": 3600})
        changed = client.get("/v1/schedules/note").json()
        assert (changed["id"], changed["every_s"], changed["paused"]) == (made["id"], 3600.0, True)
        platform.deploy("note", SOURCE)
        assert client.get("/v1/schedules/note").status_code == 404
        bad = {"name": "note", "source": SOURCE, "handler": "note", "options": {"schedule": {"cron": "0 0 30 2 *"}}}
        refused = client.post("/v1/functions", json=bad)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_option")
        assert len(client.get("/v1/functions/note").json()["revisions"]) == 3


@pytest.mark.slow
def test_no_tick_is_lost_or_doubled_over_kill_9(tmp_path: Path) -> None:
    """Killed at whatever it was doing, four times, while it ticks every second; the misfire policy makes up for all."""
    platform = RunningPlatform(tmp_path / "data")
    platform.start()
    policies = {"overlap": "allow", "misfire": "run_all", "arguments": {"at": "{{ scheduled_time }}"}}
    platform.deploy("note", SOURCE, schedule={"every_s": 1, **policies}, idempotent=True)
    for seen in range(2, 10, 2):
        while len(runs_of(platform, "note")) < seen:
            pass
        platform.kill()
        platform.start()
    with platform.client() as client:
        client.post("/v1/schedules/note/pause")
        while any(run["ended_at"] is None for run in runs_of(platform, "note")):
            pass
        runs = runs_of(platform, "note")
        results = [client.get(f"/v1/jobs/{run['job']}/result").json() for run in runs]
        jobs = client.get("/v1/jobs", params={"limit": 1000}).json()["jobs"]
    ticks = sorted(str(run["scheduled_time"]) for run in runs)
    seconds = [int(tick[17:19]) + 60 * int(tick[14:16]) for tick in ticks]
    assert [(after - before) % 3600 for before, after in pairwise(seconds)] == [1] * (len(ticks) - 1)
    assert [run["state"] for run in runs] == ["succeeded"] * len(runs)
    assert sorted(results) == ticks
    assert len(jobs) == len(runs)
    platform.stop()


async def test_a_failed_run_is_told_to_the_webhook_that_the_schedule_names(tmp_path: Path) -> None:
    async with receiver() as found:

        def steer(platform: RunningPlatform) -> str:
            with platform.client() as client:
                made = client.post("/v1/webhooks", json={"url": f"{found.url}/", "events": []}).json()
                platform.deploy("fail", SOURCE)
                spec = {
                    "name": "often",
                    "function": "fail",
                    "cron": "@yearly",
                    "arguments": {"at": "now"},
                    "webhooks": [f"{found.url}/often"],
                }
                assert client.post("/v1/schedules", json=spec).status_code == 201
                assert client.post("/v1/schedules/often/run").status_code == 202
            secret: str = made["secret"]
            return secret

        async def told(platform: RunningPlatform) -> tuple[Message, str]:
            secret = await asyncio.to_thread(steer, platform)
            return (await found.wait_for(1))[0], secret

        with running_platform(tmp_path / "data", {"webhooks_allowed_networks": "127.0.0.0/8"}) as platform:
            message, secret = await told(platform)
    event = verify_webhook(message.headers, message.body, secret)
    assert (message.path, event["type"]) == ("/often", "schedule.run_failed")
    assert event["data"]["problem"]["error_type"] == "builtins.ValueError"
