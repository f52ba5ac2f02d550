"""Kafka topics, by a consumer group with offsets committed by hand.

The rule that must not break: an offset is committed only when every message before it is done, so that a crash loses
nothing; messages behind it that were done already come again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, cast
from urllib.parse import unquote, urlsplit

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from stoker_api.triggers.brokers.kafka_offsets import Offsets
from stoker_api.triggers.ports import Source, SourceSpec
from stoker_api.triggers.records import Message, Outgoing

_WAIT_MS: Final = 1000
_LONGEST_CALL_MS: Final = 3_600_000
"""Between two fetches, before the group takes this member for dead."""


@asynccontextmanager
async def open_source(spec: SourceSpec) -> AsyncIterator[Source]:
    """Connect and join the group."""
    parts = urlsplit(spec.url)
    connection: dict[str, object] = {"bootstrap_servers": parts.netloc.rpartition("@")[2].split(",")}
    if parts.username:
        connection |= {
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": unquote(parts.username),
            "sasl_plain_password": unquote(parts.password or ""),
        }
    producer = AIOKafkaProducer(acks="all", **connection)
    consumer = AIOKafkaConsumer(
        spec.topic,
        group_id=spec.group,
        enable_auto_commit=False,
        auto_offset_reset=spec.start.value,
        max_poll_interval_ms=_LONGEST_CALL_MS,
        **connection,
    )
    try:
        await producer.start()
        await consumer.start()
        yield _KafkaSource(producer, consumer)
    finally:  # also of what did not start
        await consumer.stop()
        await producer.stop()


class _KafkaSource:
    hold_every_s: float | None = None

    def __init__(self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer) -> None:
        self._producer = producer
        self._consumer = consumer
        self._offsets: dict[str, Offsets] = {}

    async def receive(self, most: int) -> list[Message]:
        found = await self._consumer.getmany(timeout_ms=_WAIT_MS, max_records=most)
        records = [record for partition in found.values() for record in partition]
        for record in records:
            self._offsets.setdefault(record.topic, Offsets()).received(record.partition, record.offset)
        return [_message(record) for record in records]

    async def done(self, message: Message) -> None:
        record = cast("ConsumerRecord[bytes, bytes]", message.handle)
        offset = self._offsets[record.topic].done(record.partition, record.offset)
        if offset is not None:
            await self._consumer.commit({TopicPartition(record.topic, record.partition): offset})

    async def hold(self, messages: Sequence[Message]) -> None:
        return None

    async def publish(self, topic: str, outgoing: Outgoing) -> None:
        headers = {**outgoing.headers, "content-type": outgoing.content_type}
        encoded = [(name, value.encode()) for name, value in headers.items()]
        await self._producer.send_and_wait(topic, outgoing.body, headers=encoded)

    async def lag(self) -> int | None:
        waiting = 0
        for partition in self._consumer.assignment():
            end = (await self._consumer.end_offsets([partition]))[partition]
            waiting += max(end - await self._consumer.position(partition), 0)
        return waiting


def _message(record: ConsumerRecord[bytes, bytes]) -> Message:
    headers = {name.lower(): value.decode("utf-8", "replace") for name, value in record.headers}
    return Message(
        id=f"{record.topic}-{record.partition}-{record.offset}",
        body=record.value or b"",
        content_type=headers.pop("content-type", ""),
        headers=headers,
        handle=record,
    )
