"""A real platform with triggers: killed in the middle, over HTTP, and by the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support.brokers import Broker, redis
from tests.support.running_platform import RunningPlatform, running_platform

from stoker.cli.main import main
from stoker_api.triggers.address import kind_of
from stoker_api.triggers.brokers.opening import open_source
from stoker_api.triggers.ports import Source, SourceSpec
from stoker_api.triggers.records import Message, Outgoing, Start

LIMIT_S = 60.0
SOURCE = """
def double(x: int) -> int:
    if x == 13:
        raise ValueError("no thirteen")
    return 2 * x

def kind(event: dict) -> str:
    return event["type"] + "/" + str(event["data"]["x"])
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "redis"
    folder.mkdir()
    found = redis(folder)
    found.start()
    yield found
    found.kill()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with running_platform(tmp_path_factory.mktemp("platform") / "data") as found:
        found.deploy("double", SOURCE)
        found.deploy("kind", SOURCE)
        yield found


def spec_of(broker: Broker, topic: str, *targets: str) -> SourceSpec:
    return SourceSpec(
        kind=kind_of(broker.url),
        url=broker.url,
        topic=topic,
        group="test",
        consumer="test",
        start=Start.EARLIEST,
        most=1000,
        targets=targets,
    )


async def first_of(source: Source) -> Message:
    while True:
        for message in await source.receive(1):
            return message


@pytest.mark.slow
async def test_nothing_is_lost_when_the_platform_is_killed_in_the_middle(tmp_path: Path, broker: Broker) -> None:
    platform = RunningPlatform(tmp_path / "data")
    await asyncio.to_thread(platform.start)
    try:
        await asyncio.to_thread(platform.deploy, "double", SOURCE)
        with platform.client() as client:
            trigger = {"name": "t", "function": "double", "url": broker.url, "topic": "in", "results": "out"}
            assert client.post("/v1/triggers", json={**trigger, "max_in_flight": 8}).status_code == 201
        async with open_source(spec_of(broker, "out", "in")) as source:
            for number in range(200):
                body = json.dumps({"x": number}).encode()
                await source.publish("in", Outgoing(body=body, content_type="application/json", headers={}))
            results: set[int] = set()

            async def read_until(number: int) -> None:
                while len(results) < number:
                    for message in await source.receive(10):
                        results.add(int(message.body))
                        await source.done(message)

            for so_many in (20, 80):
                await asyncio.wait_for(read_until(so_many), LIMIT_S)
                await asyncio.to_thread(platform.kill)
                await asyncio.to_thread(platform.start)
            await asyncio.wait_for(read_until(199), LIMIT_S)
        async with open_source(spec_of(broker, "in-dead")) as dead:
            letter = await asyncio.wait_for(first_of(dead), LIMIT_S)
    finally:
        await asyncio.to_thread(platform.stop)
    assert results == {2 * number for number in range(200) if number != 13}
    assert json.loads(letter.body)["problem"]["error_message"] == "no thirteen"


def test_a_cloud_event_runs_a_function_and_its_answer_is_one(platform: RunningPlatform) -> None:
    with platform.client() as client:
        made = client.post(
            "/v1/triggers", json={"name": "doubles", "function": "double", "url": "http:", "reply_type": "dev.doubled"}
        )
        assert made.status_code == 201, made.text
        headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/here", "ce-type": "dev.number"}
        binary = client.post("/v1/triggers/doubles/events", json={"x": 4}, headers=headers)
        event = {"specversion": "1.0", "id": "2", "source": "/here", "type": "dev.number", "data": {"x": 5}}
        structured = client.post(
            "/v1/triggers/doubles/events",
            content=json.dumps(event),
            headers={"content-type": "application/cloudevents+json"},
        )
    assert (binary.status_code, binary.json()) == (200, 8)
    assert (binary.headers["ce-type"], binary.headers["ce-specversion"]) == ("dev.doubled", "1.0")
    assert structured.json() == 10


def test_a_function_may_take_the_whole_event(platform: RunningPlatform) -> None:
    with platform.client() as client:
        client.post("/v1/triggers", json={"name": "kinds", "function": "kind", "url": "http:", "passed": "event"})
        event = {"specversion": "1.0", "id": "2", "source": "/here", "type": "dev.number", "data": {"x": 5}}
        answer = client.post(
            "/v1/triggers/kinds/events",
            content=json.dumps(event),
            headers={"content-type": "application/cloudevents+json"},
        )
    assert answer.json() == "dev.number/5"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"{}", 400),
        ({"ce-specversion": "0.3", "ce-id": "1", "ce-source": "s", "ce-type": "t"}, b"{}", 400),
        ({"content-type": "application/cloudevents+json"}, b"{", 400),
        ({"content-type": "application/cloudevents+json"}, b"[]", 400),
        ({"content-type": "application/cloudevents-batch+json"}, b"[]", 415),
        ({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "t"}, b'{"x": "no"}', 422),
        ({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "t"}, b'{"x": 13}', 500),
    ],
    ids=["no event", "old version", "no JSON", "no object", "batch", "wrong argument", "function raises"],
)
def test_a_wrong_event_is_told_what_is_wrong(
    platform: RunningPlatform, headers: dict[str, str], body: bytes, status: int
) -> None:
    with platform.client() as client:
        client.post("/v1/triggers", json={"name": "strict", "function": "double", "url": "http:"})
        answer = client.post("/v1/triggers/strict/events", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["hint"]


@pytest.mark.parametrize(
    ("spec", "status", "said"),
    [
        ({"url": "ftp://host", "topic": "in"}, 422, "unknown scheme"),
        ({"url": "redis://", "topic": "in"}, 422, "names no host"),
        ({"url": "redis://h:no", "topic": "in"}, 422, "is no URL"),
        ({"url": "redis://h", "topic": ""}, 422, "topic"),
        ({"url": "redis://h", "topic": "in", "results": "in"}, 422, "feeds itself"),
        ({"url": "nats://h", "topic": "a.>", "dead_letters": "a.dead"}, 422, "feeds itself"),
        ({"url": "nats://h", "topic": "a.*"}, 422, "dead_letters"),
        ({"url": "http:", "topic": "in"}, 422, "topic is for brokers"),
        ({"url": "redis://h", "topic": "in", "max_in_flight": 0}, 422, "max_in_flight"),
        ({"url": "redis://h", "topic": "in", "max_attempts": 0}, 422, "max_attempts"),
        ({"url": "redis://h", "topic": "in", "function": "nobody"}, 404, "no function"),
        ({"url": "redis://h", "topic": "in", "passed": "all"}, 422, "passed"),
        ({"url": "redis://h", "topic": "in", "colour": "red"}, 422, "colour"),
    ],
    ids=lambda value: "" if isinstance(value, int) else str(value)[:40],
)
def test_a_wrong_trigger_is_refused(platform: RunningPlatform, spec: dict[str, object], status: int, said: str) -> None:
    with platform.client() as client:
        answer = client.post("/v1/triggers", json={"name": "wrong", "function": "double", **spec})
    assert answer.status_code == status, answer.text
    assert said in answer.text


def test_a_password_is_shown_nowhere(platform: RunningPlatform) -> None:
    url = "redis://user:s3cr3tpass@127.0.0.1:1/0?token=s3cr3ttoken"
    with platform.client() as client:
        made = client.post("/v1/triggers", json={"name": "shy", "function": "double", "url": url, "topic": "in"})
        shown = client.get("/v1/triggers/shy")
        listed = client.get("/v1/triggers")
        assert client.delete("/v1/triggers/shy").status_code == 200
    for text in (made.text, shown.text, listed.text, platform.log_text()):
        assert "s3cr3t" not in text
    assert made.json()["url"] == "redis://user:***@127.0.0.1:1/0?token=***"


def test_the_command_line_makes_pauses_and_deletes(
    platform: RunningPlatform, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOKER_URL", platform.url)
    monkeypatch.setenv("STOKER_TOKEN", platform.token)
    monkeypatch.setenv("BROKER", broker.url)

    def stoker(*words: str) -> str:
        done = CliRunner().invoke(main, ["triggers", *words])
        assert done.exit_code == 0, done.output
        return done.output

    stoker("create", "cli", "double", "--url-from", "BROKER", "--topic", "in", "--max-attempts", "5")
    assert "cli" in stoker("list")
    assert json.loads(stoker("show", "cli", "--json"))["max_attempts"] == 5
    stoker("change", "cli", "--max-in-flight", "2")
    shown = json.loads(stoker("show", "cli", "--json"))
    assert (shown["max_in_flight"], shown["max_attempts"]) == (2, 5)
    stoker("pause", "cli")
    assert json.loads(stoker("show", "cli", "--json"))["state"] == "paused"
    stoker("resume", "cli")
    assert json.loads(stoker("show", "cli", "--json"))["state"] != "paused"
    stoker("delete", "cli")
    assert "cli" not in stoker("list")


def test_a_change_takes_what_it_names_and_refuses_what_could_not_be(platform: RunningPlatform) -> None:
    trigger = {"name": "changing", "function": "double", "url": "redis://127.0.0.1:1", "topic": "in", "paused": True}
    with platform.client() as client:
        client.post("/v1/triggers", json=trigger)
        changed = client.patch("/v1/triggers/changing", json={"max_in_flight": 7}).json()
        assert (changed["max_in_flight"], changed["max_attempts"], changed["state"]) == (7, 3, "paused")
        assert client.patch("/v1/triggers/changing", json={"paused": False}).json()["state"] != "paused"
        for wrong in ({"max_in_flight": 0}, {"max_attempts": 101}, {"topic": "other"}):
            assert client.patch("/v1/triggers/changing", json=wrong).status_code == 422
        assert client.get("/v1/triggers/changing").json()["max_in_flight"] == 7
        client.delete("/v1/triggers/changing")
        assert client.patch("/v1/triggers/changing", json={"max_in_flight": 8}).status_code == 404
