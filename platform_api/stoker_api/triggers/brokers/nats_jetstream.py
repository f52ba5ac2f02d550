"""NATS JetStream, by a durable pull consumer.

The rule that must not break: a message is acknowledged by ``done`` alone, and while it is worked on the server is told
so, since it hands out again what it does not hear of.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, cast

from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoServersError
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamConfig
from nats.js.errors import NotFoundError, ServiceUnavailableError

from stoker.errors import InvalidInput
from stoker_api.triggers.ports import Source, SourceSpec
from stoker_api.triggers.records import Message, Outgoing, Start

_WAIT_S: Final = 1.0
_ACK_WAIT_S: Final = 10.0
_HOLDS_PER_WAIT: Final = 3
_CONNECT_S: Final = 10
_PING_S: Final = 5
"""A server that left two of these unanswered counts as lost."""


@asynccontextmanager
async def open_source(spec: SourceSpec) -> AsyncIterator[Source]:
    """Connect, and make the streams and the consumer where they are not there yet."""
    lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def on_closed() -> None:
        if not lost.done():
            lost.set_exception(ConnectionError("the connection was closed"))

    heard: list[Exception] = []

    async def on_error(error: Exception) -> None:
        heard[:] = [error]

    broker = NatsBroker(
        spec.url,
        logger=None,
        allow_reconnect=False,  # the trigger does that itself, and says so
        max_reconnect_attempts=1,  # of the first connect, which would go on for ever by itself
        reconnect_time_wait=0,
        connect_timeout=_CONNECT_S,
        ping_interval=_PING_S,
        closed_cb=on_closed,
        error_cb=on_error,
    )
    client: Client | None = None
    try:
        try:
            client = await broker.connect()
        except NoServersError:
            raise ConnectionError(str(heard[-1]) if heard else "no server answers") from None
        context = client.jetstream()
        for subject in (spec.topic, *spec.targets):
            await _ensure_stream(context, subject)
        config = ConsumerConfig(
            durable_name=spec.group,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=_ACK_WAIT_S,
            max_ack_pending=spec.most,
            max_deliver=-1,
            deliver_policy=DeliverPolicy.ALL if spec.start is Start.EARLIEST else DeliverPolicy.NEW,
        )
        pulled = await context.pull_subscribe(spec.topic, durable=spec.group, config=config)
        source = _NatsSource(client, context, pulled, lost)
        info = await pulled.consumer_info()
        source.hold_every_s = (info.config.ack_wait or _ACK_WAIT_S) / _HOLDS_PER_WAIT
        try:
            yield source
        finally:
            if not lost.done():
                await source.give_back()
    finally:
        if not lost.done():
            lost.cancel()
        elif not lost.cancelled():
            lost.exception()  # seen
        if client is not None and not client.is_closed:
            await client.close()  # not by the broker's stop: its drain waits for answers that a fetch gave up


async def _ensure_stream(context: JetStreamContext, subject: str) -> None:
    try:
        await context.find_stream_name_by_subject(subject)
    except ServiceUnavailableError as error:
        raise InvalidInput("this NATS server has no JetStream", hint="Start it as nats-server -js.") from error
    except NotFoundError:
        name = re.sub(r"[^A-Za-z0-9_-]", "_", subject)
        await context.add_stream(StreamConfig(name=name, subjects=[subject]))


class _NatsSource:
    hold_every_s: float | None = _ACK_WAIT_S / _HOLDS_PER_WAIT

    def __init__(
        self,
        client: Client,
        context: JetStreamContext,
        pulled: JetStreamContext.PullSubscription,
        lost: asyncio.Future[None],
    ) -> None:
        self._client = client
        self._context = context
        self._pulled = pulled
        self._lost = lost
        self._open: dict[str, Msg] = {}

    async def receive(self, most: int) -> list[Message]:
        self._check()
        try:
            found = await self._pulled.fetch(most, timeout=_WAIT_S)
        except (NatsTimeout, asyncio.TimeoutError):
            self._check()
            return []
        messages = [_message(item) for item in found]
        messages = [message for message in messages if message.id not in self._open]  # handed out twice: one ack does
        self._open |= {message.id: cast(Msg, message.handle) for message in messages}
        return messages

    async def done(self, message: Message) -> None:
        self._check()
        await cast(Msg, message.handle).ack_sync()
        self._open.pop(message.id, None)

    async def hold(self, messages: Sequence[Message]) -> None:
        for message in messages:
            await cast(Msg, message.handle).in_progress()

    async def give_back(self) -> None:
        """At the end: what is not done may be handed out at once."""
        await self._pulled.unsubscribe()  # else a fetch that was given up might be handed them
        for item in self._open.values():
            await item.nak()
        await self._client.flush()

    async def publish(self, topic: str, outgoing: Outgoing) -> None:
        self._check()
        headers = {**outgoing.headers, "content-type": outgoing.content_type}
        await self._context.publish(topic, outgoing.body, headers=headers)

    async def lag(self) -> int | None:
        return (await self._pulled.consumer_info()).num_pending

    def _check(self) -> None:
        if self._lost.done():
            self._lost.result()


def _message(item: Msg) -> Message:
    headers = {name.lower(): value for name, value in (item.headers or {}).items()}
    content_type = headers.pop("content-type", "")
    where = item.metadata
    identity = f"{where.stream}-{where.sequence.stream}"
    return Message(id=identity, body=item.data, content_type=content_type, headers=headers, handle=item)
