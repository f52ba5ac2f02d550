"""Redis Streams, by a consumer group.

The rule that must not break: what this consumer had been given and has not finished comes first after a connect, so
that a crash loses nothing; an entry leaves the pending list by ``XACK`` alone.

An entry's body is its field ``data``, with the other fields as headers; FastStream's own form is read too; without
either, all fields together are a JSON object.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import msgspec
from faststream.redis import RedisBroker
from faststream.redis.parser import BinaryMessageFormatV1
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from stoker_api.triggers.ports import Source, SourceSpec
from stoker_api.triggers.records import Message, Outgoing, Start

_BLOCK_MS: Final = 1000
_SILENCE_S: Final = 5.0
"""After which a server that says nothing counts as lost; longer than a blocking read."""
_DATA: Final = b"data"
_FASTSTREAM: Final = b"__data__"
_TYPE: Final = "content-type"


@asynccontextmanager
async def open_source(spec: SourceSpec) -> AsyncIterator[Source]:
    """Connect, and make the group (and the stream) where it is not there yet."""
    broker = RedisBroker(
        spec.url,
        logger=None,  # type: ignore[arg-type] # None: it logs nothing
        socket_timeout=_SILENCE_S,
        socket_connect_timeout=_SILENCE_S,
    )
    try:
        client = await broker.connect()
        first = "0" if spec.start is Start.EARLIEST else "$"
        try:
            await client.xgroup_create(spec.topic, spec.group, id=first, mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        yield _RedisSource(client, spec)
    finally:
        await broker.stop()


class _RedisSource:
    hold_every_s: float | None = None

    def __init__(self, client: Redis, spec: SourceSpec) -> None:
        self._client = client
        self._spec = spec
        self._own: str | None = "0"
        """Up to where the pending entries of an earlier life were read; None: all."""

    async def receive(self, most: int) -> list[Message]:
        if self._own is not None:
            entries = await self._read(self._own, most)
            if entries:
                self._own = entries[-1][0].decode()
                gone = [at for at, fields in entries if not fields]  # trimmed from the stream meanwhile
                if gone:
                    await self._client.xack(self._spec.topic, self._spec.group, *gone)
                return [_message(at, fields) for at, fields in entries if fields]
            self._own = None
        return [_message(at, fields) for at, fields in await self._read(">", most)]

    async def done(self, message: Message) -> None:
        await self._client.xack(self._spec.topic, self._spec.group, message.id)

    async def hold(self, messages: Sequence[Message]) -> None:
        return None

    async def publish(self, topic: str, outgoing: Outgoing) -> None:
        fields: dict[bytes, bytes] = {name.encode(): value.encode() for name, value in outgoing.headers.items()}
        fields |= {_TYPE.encode(): outgoing.content_type.encode(), _DATA: outgoing.body}
        await self._client.xadd(topic, cast(Any, fields))

    async def lag(self) -> int | None:
        for group in await self._client.xinfo_groups(self._spec.topic):
            if group["name"] == self._spec.group.encode() and group.get("lag") is not None:
                return int(group["lag"])
        return None

    async def _read(self, after: str, most: int) -> list[tuple[bytes, Mapping[bytes, bytes]]]:
        spec = self._spec
        found: Any = await self._client.xreadgroup(
            spec.group, spec.consumer, {spec.topic: after}, count=most, block=_BLOCK_MS if after == ">" else None
        )
        streams = list(found.values()) if isinstance(found, dict) else [entries for _, entries in found or ()]
        if not streams:
            return []
        entries = streams[0]
        if isinstance(found, dict) and entries and isinstance(entries[0], list):  # RESP3 nests one deeper
            entries = entries[0]
        return [(at, fields) for at, fields in entries]


def _message(at: bytes, fields: Mapping[bytes, bytes]) -> Message:
    headers = {_text(name).lower(): _text(value) for name, value in fields.items() if name not in (_DATA, _FASTSTREAM)}
    if _DATA in fields:
        body = fields[_DATA]
    elif _FASTSTREAM in fields:
        body, inner = BinaryMessageFormatV1.parse(fields[_FASTSTREAM])
        headers |= {str(name).lower(): str(value) for name, value in inner.items()}
    else:
        body = msgspec.json.encode({_text(name): _text(value) for name, value in fields.items()})
        headers = {_TYPE: "application/json"}
    content_type = headers.pop(_TYPE, "")
    return Message(id=at.decode(), body=body, content_type=content_type, headers=headers)


def _text(data: bytes) -> str:
    with contextlib.suppress(UnicodeDecodeError):
        return data.decode()
    return data.decode("latin-1")
