"""Every broker's adapter keeps one contract: nothing is lost, nothing comes back that is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from tests.support.brokers import BROKERS, Broker

from stoker_api.triggers.address import kind_of
from stoker_api.triggers.brokers.opening import open_source
from stoker_api.triggers.ports import Source, SourceSpec
from stoker_api.triggers.records import Message, Outgoing, Start

_numbers = count()


@pytest.fixture(scope="module", params=BROKERS)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One of each kind for all tests."""
    found = BROKERS[request.param](Path(tmp_path_factory.mktemp(request.param)))
    found.start()
    yield found
    found.kill()


@pytest.fixture
def spec(broker: Broker) -> SourceSpec:
    """A topic of its own."""
    number = next(_numbers)
    return SourceSpec(
        kind=kind_of(broker.url),
        url=broker.url,
        topic=f"orders{number}",
        group=f"stoker{number}",
        consumer="stoker",
        start=Start.EARLIEST,
        most=10,
        targets=(f"results{number}", f"dead{number}"),
    )


async def receive(source: Source, number: int) -> list[Message]:
    """So many messages, over as many fetches as it takes."""
    found: list[Message] = []
    for _ in range(20):
        found += await source.receive(number - len(found))
        if len(found) == number:
            break
    return found


async def put(source: Source, topic: str, number: int) -> None:
    for each in range(number):
        await source.publish(topic, Outgoing(body=b"%d" % each, content_type="text/plain", headers={}))


async def test_a_message_arrives_whole(spec: SourceSpec) -> None:
    sent = Outgoing(body=b'{"x": "\xc3\xa4"}', content_type="application/json", headers={"stoker-trigger": "t"})
    async with open_source(spec) as source:
        await source.publish(spec.topic, sent)
        (message,) = await receive(source, 1)
    assert (message.body, message.content_type) == (sent.body, sent.content_type)
    assert message.headers["stoker-trigger"] == "t"


async def test_what_is_not_done_comes_back_and_what_is_done_does_not(spec: SourceSpec) -> None:
    async with open_source(spec) as source:
        await put(source, spec.topic, 5)
        for message in await receive(source, 5):
            if message.body != b"3":
                await source.done(message)
    async with open_source(spec) as source:
        (message,) = await receive(source, 1)
        assert message.body == b"3"
        await source.done(message)
    async with open_source(spec) as source:
        assert await source.receive(10) == []


async def test_no_more_is_handed_out_than_was_asked_for(spec: SourceSpec) -> None:
    async with open_source(spec) as source:
        await put(source, spec.topic, 30)
        assert len(await source.receive(4)) <= 4
        assert len(await receive(source, 6)) == 6


async def test_what_waits_is_counted(spec: SourceSpec) -> None:
    async with open_source(spec) as source:
        pass
    async with open_source(spec) as source:
        await put(source, spec.topic, 30)
        for message in await receive(source, 10):
            await source.done(message)
        lag = await source.lag()
    assert lag is not None
    assert 10 <= lag <= 20


async def test_results_are_read_by_others(spec: SourceSpec) -> None:
    async with open_source(spec) as source:
        await put(source, spec.targets[0], 3)
    other = dataclasses.replace(spec, topic=spec.targets[0], group=f"{spec.group}-other", targets=())
    async with open_source(other) as source:
        assert [message.body for message in await receive(source, 3)] == [b"0", b"1", b"2"]


async def test_a_broker_that_is_not_there_is_told_of(spec: SourceSpec, broker: Broker) -> None:
    port = broker.url.rpartition(":")[2].partition("/")[0]
    nowhere = broker.url.replace(port, "1")
    missing = dataclasses.replace(spec, url=nowhere)
    with pytest.raises(Exception):  # noqa: B017 - each library has its own
        async with open_source(missing):
            pass
