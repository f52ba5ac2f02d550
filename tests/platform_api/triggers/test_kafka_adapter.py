"""The Kafka adapter against a recorded consumer: no Kafka is in the system's packages, so no real one was tried."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from stoker_api.triggers.brokers.kafka import _KafkaSource, open_source
from stoker_api.triggers.ports import SourceSpec
from stoker_api.triggers.records import Kind, Start


@dataclass
class Record:
    partition: int
    offset: int
    value: bytes | None = b"1"
    topic: str = "in"
    headers: tuple[tuple[str, bytes], ...] = (("Content-Type", b"application/json"), ("a", b"b"))


@dataclass
class Consumer:
    """As aiokafka's, with what it was told."""

    records: list[Record]
    commits: list[dict[Any, int]] = field(default_factory=list)

    async def getmany(self, timeout_ms: int, max_records: int) -> dict[str, list[Record]]:
        taken, self.records = self.records[:max_records], self.records[max_records:]
        return {"in": taken} if taken else {}

    async def commit(self, offsets: dict[Any, int]) -> None:
        self.commits.append(offsets)


async def test_offsets_are_committed_in_order_whatever_ends_first() -> None:
    consumer = Consumer([Record(0, 5), Record(0, 6), Record(0, 7)])
    source = _KafkaSource(cast(Any, None), cast(Any, consumer))
    first, second, third = await source.receive(10)
    await source.done(third)
    await source.done(second)
    assert consumer.commits == []
    await source.done(first)
    assert [list(commit.values()) for commit in consumer.commits] == [[8]]


async def test_a_record_is_read_whole() -> None:
    source = _KafkaSource(cast(Any, None), cast(Any, Consumer([Record(2, 9, None)])))
    (message,) = await source.receive(1)
    assert (message.id, message.body, message.content_type) == ("in-2-9", b"", "application/json")
    assert message.headers == {"a": "b"}


async def test_a_broker_that_is_not_there_is_told_of() -> None:
    spec = SourceSpec(
        kind=Kind.KAFKA,
        url="kafka://127.0.0.1:1",
        topic="in",
        group="g",
        consumer="c",
        start=Start.EARLIEST,
        most=1,
        targets=(),
    )
    with pytest.raises(Exception, match="Unable to bootstrap"):
        async with open_source(spec):
            pass
