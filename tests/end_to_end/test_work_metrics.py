"""Schedules, webhooks and triggers on the real ``/metrics`` of a real platform."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.brokers import Broker, redis
from tests.support.running_platform import RunningPlatform, running_platform
from tests.support.webhook_receiver import receiver, says

from stoker_api.triggers.address import kind_of
from stoker_api.triggers.brokers.opening import open_source
from stoker_api.triggers.ports import SourceSpec
from stoker_api.triggers.records import Outgoing, Start

LIMIT_S = 60.0
SOURCE = """
def half(x: int) -> int:
    if x % 2:
        raise ValueError("odd")
    return x // 2
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    settings = {"webhooks_allowed_networks": "127.0.0.0/8"}
    with running_platform(tmp_path_factory.mktemp("platform") / "data", settings) as found:
        found.deploy("half", SOURCE)
        yield found


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "redis"
    folder.mkdir()
    found = redis(folder)
    found.start()
    yield found
    found.kill()


def scrape(platform: RunningPlatform) -> list[str]:
    with platform.client() as client:
        return client.get("/metrics").text.splitlines()


async def shows(platform: RunningPlatform, *wanted: str) -> list[str]:
    """The scrape that has all of these lines; bounded."""

    async def look() -> list[str]:
        while True:
            lines = await asyncio.to_thread(scrape, platform)
            if set(wanted) <= set(lines):
                return lines

    return await asyncio.wait_for(look(), LIMIT_S)


async def test_a_tick_its_start_and_its_failed_run_are_counted(platform: RunningPlatform) -> None:
    def begin() -> None:
        schedule = {"name": "odd", "function": "half", "every_s": 1, "arguments": {"x": 1}}
        with platform.client() as client:
            assert client.post("/v1/schedules", json=schedule).status_code == 201

    await asyncio.to_thread(begin)
    labels = 'function="half",namespace="default"'
    lines = await shows(platform, f'stoker_schedule_runs_ended_total{{{labels},state="failed"}} 1.0')
    assert 'stoker_schedules{namespace="default",state="active"} 1.0' in lines
    assert any(line.startswith(f'stoker_schedule_ticks_total{{{labels},outcome="started"}} ') for line in lines)
    assert any(line.startswith(f"stoker_schedule_lateness_seconds_count{{{labels}}} ") for line in lines)

    def end() -> None:
        with platform.client() as client:
            client.post("/v1/schedules/odd/pause")

    await asyncio.to_thread(end)
    await shows(platform, 'stoker_schedules{namespace="default",state="paused"} 1.0')


async def test_messages_are_counted_by_what_their_receiver_said(platform: RunningPlatform) -> None:
    async with receiver(says(204), says(500)) as found:

        def begin() -> None:
            with platform.client() as client:
                hook = client.post("/v1/webhooks", json={"url": found.url, "events": []}).json()["id"]
                for _ in range(2):  # one after another, for the receiver says one thing after another
                    client.post(f"/v1/webhooks/{hook}/test")
                    while not client.get(f"/v1/webhooks/{hook}/deliveries").json()["deliveries"][0]["attempts"]:
                        pass

        await asyncio.to_thread(begin)
        await shows(
            platform,
            'stoker_webhook_attempts_total{namespace="default",outcome="delivered"} 1.0',
            'stoker_webhook_attempts_total{namespace="default",outcome="refused"} 1.0',
            'stoker_webhook_deliveries_total{namespace="default",state="delivered"} 1.0',
            'stoker_webhook_deliveries_total{namespace="default",state="failed"} 1.0',
        )


async def test_a_message_that_is_tried_again_is_pending(platform: RunningPlatform) -> None:
    async with receiver(says(500)) as found:

        def begin() -> None:
            with platform.client() as client:
                hook = client.post("/v1/webhooks", json={"url": found.url, "events": []}).json()["id"]
                headers = {"Prefer": "respond-async", "Stoker-Webhook": hook}
                assert client.post("/f/half", json={"x": 2}, headers=headers).status_code == 202

        await asyncio.to_thread(begin)
        lines = await shows(platform, 'stoker_webhook_pending{namespace="default"} 1.0')
    assert any(line.startswith('stoker_webhook_oldest_pending_seconds{namespace="default"} ') for line in lines)


async def test_a_trigger_counts_its_messages_over_a_pause_and_says_whether_its_broker_is_there(
    platform: RunningPlatform, broker: Broker
) -> None:
    def create() -> None:
        trigger = {"name": "inbox", "function": "half", "url": broker.url, "topic": "in", "max_attempts": 1}
        with platform.client() as client:
            assert client.post("/v1/triggers", json=trigger).status_code == 201

    def do(what: str) -> dict[str, object]:
        with platform.client() as client:
            document: dict[str, object] = client.post(f"/v1/triggers/inbox/{what}").json()
            return document

    labels = 'namespace="default",trigger="inbox"'
    done = 'stoker_trigger_messages_total{{namespace="default",outcome="{}",trigger="inbox"}} {}.0'.format
    spec = SourceSpec(
        kind=kind_of(broker.url),
        url=broker.url,
        topic="other",
        group="test",
        consumer="test",
        start=Start.EARLIEST,
        most=1,
        targets=("in",),
    )
    async with open_source(spec) as source:
        for number in (1, 2, 4):
            body = json.dumps({"x": number}).encode()
            await source.publish("in", Outgoing(body=body, content_type="application/json", headers={}))
        await asyncio.to_thread(create)
        lines = await shows(
            platform,
            done("succeeded", 2),
            done("dead_lettered", 1),
            f"stoker_trigger_connected{{{labels}}} 1.0",
            f"stoker_trigger_lag{{{labels}}} 0.0",
        )
        assert f"stoker_trigger_consumed_total{{{labels}}} 3.0" in lines
        assert f"stoker_trigger_failed_runs_total{{{labels}}} 1.0" in lines
        assert f"stoker_trigger_waiting{{{labels}}} 0.0" in lines
        paused = await asyncio.to_thread(do, "pause")
        assert (paused["state"], paused["succeeded"]) == ("paused", 2)
        await asyncio.to_thread(do, "resume")
        body = json.dumps({"x": 6}).encode()
        await source.publish("in", Outgoing(body=body, content_type="application/json", headers={}))
        await shows(platform, done("succeeded", 3))
    broker.kill()
    await shows(platform, f"stoker_trigger_connected{{{labels}}} 0.0")


async def test_events_over_http_are_counted_too(platform: RunningPlatform) -> None:
    def post() -> dict[str, object]:
        headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/here", "ce-type": "dev.number"}
        with platform.client() as client:
            client.post("/v1/triggers", json={"name": "posted", "function": "half", "url": "http:"})
            for number in (1, 2):
                client.post("/v1/triggers/posted/events", json={"x": number}, headers=headers)
            document: dict[str, object] = client.get("/v1/triggers/posted").json()
            return document

    shown = await asyncio.to_thread(post)
    assert (shown["consumed"], shown["succeeded"], shown["failed"], shown["in_flight"]) == (2, 1, 1, 0)
    labels = 'namespace="default",trigger="posted"'
    done = 'stoker_trigger_messages_total{{namespace="default",outcome="{}",trigger="posted"}} {}.0'.format
    lines = await shows(platform, done("succeeded", 1))
    assert f"stoker_trigger_failed_runs_total{{{labels}}} 1.0" in lines
    assert not any(line.startswith(f"stoker_trigger_connected{{{labels}}}") for line in lines)
