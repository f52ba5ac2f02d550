"""Every end of a job is told, whatever is killed: the message is written with the end, or neither is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.running_platform import RunningPlatform
from tests.support.webhook_receiver import Receiver, receiver, says

from stoker.webhook import verify_webhook

ADD_ONE = "def add_one(x: int) -> int:\n    return x + 1\n"
JOBS = 60


def submit(platform: RunningPlatform, begin: int, count: int) -> set[str]:
    with platform.client() as client:
        answers = [
            client.post("/f/add-one", json={"x": number}, headers={"Prefer": "respond-async"})
            for number in range(begin, begin + count)
        ]
    return {answer.json()["id"] for answer in answers}


def kill_and_start(platform: RunningPlatform) -> None:
    platform.kill()
    platform.start()


async def told(found: Receiver, jobs: set[str], secret: str) -> set[str]:
    """The jobs that were told of, once all of ``jobs`` are among them; bounded."""

    async def all_of_them() -> set[str]:
        while True:
            found.came.clear()
            events = [verify_webhook(message.headers, message.body, secret) for message in found.messages]
            subjects = {str(event["data"]["id"]) for event in events if event["data"]["state"] == "succeeded"}
            if jobs <= subjects:
                return subjects
            await found.came.wait()

    return await asyncio.wait_for(all_of_them(), 60)


@pytest.mark.slow
async def test_every_end_is_told_over_kill_9(tmp_path: Path) -> None:
    platform = RunningPlatform(tmp_path / "data", {"webhooks_allowed_networks": "127.0.0.0/8"})
    await asyncio.to_thread(platform.start)
    async with receiver(says(500), says(200)) as found:

        def begin() -> str:
            platform.deploy("add-one", ADD_ONE, handler="add_one", idempotent=True)
            with platform.client() as client:
                secret: str = client.post("/v1/webhooks", json={"url": found.url, "events": ["job.*"]}).json()["secret"]
            return secret

        secret = await asyncio.to_thread(begin)
        jobs: set[str] = set()
        for number in range(3):
            jobs |= await asyncio.to_thread(submit, platform, number * JOBS, JOBS)
            await asyncio.to_thread(kill_and_start, platform)
        assert await told(found, jobs, secret) == jobs
        await asyncio.to_thread(platform.stop)
    ids = {message.headers["webhook-id"] for message in found.messages}
    assert len(ids) == len(jobs) == 3 * JOBS
