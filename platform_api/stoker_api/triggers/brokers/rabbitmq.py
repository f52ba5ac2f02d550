"""RabbitMQ queues.

The rule that must not break: a delivery is acknowledged by ``done`` alone; what is not comes back when the channel
closes, and the broker keeps back what is more than ``most``.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from aio_pika.abc import AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import ChannelNotFoundEntity
from faststream.rabbit import RabbitBroker

from stoker_api.triggers.ports import Source, SourceSpec
from stoker_api.triggers.records import Message, Outgoing

_WAIT_S: Final = 1.0
_CONNECT_S: Final = 10.0


@asynccontextmanager
async def open_source(spec: SourceSpec) -> AsyncIterator[Source]:
    """Connect, and declare durable queues where they are not there yet."""
    lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_close(_: AbstractConnection | None, error: BaseException | None) -> None:
        if not lost.done():
            lost.set_exception(ConnectionError(f"the connection was closed: {error}" if error else "it was closed"))

    broker = RabbitBroker(spec.url, logger=None, on_close=[on_close], timeout=_CONNECT_S)
    try:
        connection = await broker.connect()
        for name in (spec.topic, *spec.targets):
            await _declare(connection, name)
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=spec.most)
        queue = await channel.declare_queue(spec.topic, passive=True)
        source = _RabbitSource(broker, connection, queue, lost)
        await source.start()
        yield source
    finally:
        if not lost.done():
            lost.cancel()
        elif not lost.cancelled():
            lost.exception()  # seen
        await broker.stop()


async def _declare(connection: AbstractConnection, name: str) -> None:
    """Make a durable queue; one that is there stays as it is, whatever its arguments."""
    channel = await connection.channel()  # a queue that is not there closes the channel that asks
    try:
        await channel.declare_queue(name, passive=True)
    except ChannelNotFoundEntity:
        channel = await connection.channel()
        await channel.declare_queue(name, durable=True)
    await channel.close()


class _RabbitSource:
    hold_every_s: float | None = None

    def __init__(
        self, broker: RabbitBroker, connection: AbstractConnection, queue: AbstractQueue, lost: asyncio.Future[None]
    ) -> None:
        self._broker = broker
        self._connection = connection
        self._queue = queue
        self._lost = lost
        self._arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()  # bounded by the prefetch count

    async def start(self) -> None:
        await self._queue.consume(self._arrived.put)

    async def receive(self, most: int) -> list[Message]:
        if self._arrived.empty():
            first: asyncio.Future[AbstractIncomingMessage] = asyncio.ensure_future(self._arrived.get())
            either: set[asyncio.Future[Any]] = {first, self._lost}
            try:
                await asyncio.wait(either, timeout=_WAIT_S, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not first.done():
                    first.cancel()
            if self._lost.done():
                await self._lost
            if not first.done() or first.cancelled():
                return []
            found = [first.result()]
        else:
            found = []
        while len(found) < most and not self._arrived.empty():
            found.append(self._arrived.get_nowait())
        return [_message(item) for item in found]

    async def done(self, message: Message) -> None:
        self._check()
        await cast(AbstractIncomingMessage, message.handle).ack()

    async def hold(self, messages: Sequence[Message]) -> None:
        return None

    async def publish(self, topic: str, outgoing: Outgoing) -> None:
        self._check()
        await self._broker.publish(
            outgoing.body,
            routing_key=topic,
            persist=True,
            headers=dict(outgoing.headers),
            content_type=outgoing.content_type,
        )

    async def lag(self) -> int | None:
        channel = await self._connection.channel()  # one of its own: this library's channels remember their queues
        found = await channel.declare_queue(self._queue.name, passive=True)
        await channel.close()
        return found.declaration_result.message_count

    def _check(self) -> None:
        """The library reconnects by itself and would wait; a delivery of the old channel is of no use then."""
        if self._lost.done():
            self._lost.result()


def _message(item: AbstractIncomingMessage) -> Message:
    headers = {name.lower(): _text(value) for name, value in item.headers.items()}
    return Message(
        id=item.message_id or f"message-{uuid.uuid4().hex}",
        body=item.body,
        content_type=item.content_type or "",
        headers=headers,
        handle=item,
    )


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
