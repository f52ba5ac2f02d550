"""Finds the adapter of a kind of broker, whose library is an extra.

The rule that must not break: no adapter is imported before a trigger needs it, and a missing library is said so, with
the command that installs it.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol, cast

from stoker.errors import InvalidInput
from stoker_api.triggers.ports import OpenSource, Source, SourceSpec
from stoker_api.triggers.records import Kind

_ADAPTERS: Final = {
    Kind.REDIS: "stoker_api.triggers.brokers.redis_streams",
    Kind.RABBITMQ: "stoker_api.triggers.brokers.rabbitmq",
    Kind.NATS: "stoker_api.triggers.brokers.nats_jetstream",
    Kind.KAFKA: "stoker_api.triggers.brokers.kafka",
}


class _Adapter(Protocol):
    open_source: OpenSource


async def adapter(kind: Kind) -> OpenSource:
    """The adapter; raises ``InvalidInput`` where its library is not there."""
    try:  # in a thread: these libraries take their time
        module = await asyncio.to_thread(importlib.import_module, _ADAPTERS[kind])
    except ImportError as error:
        raise InvalidInput(
            f"triggers from {kind.value} need a library that is not installed: {error.name or error}",
            hint='pip install "stoker[triggers]", then start the platform again.',
        ) from error
    return cast(_Adapter, module).open_source


@asynccontextmanager
async def _open(spec: SourceSpec) -> AsyncIterator[Source]:
    found = await adapter(spec.kind)
    async with found(spec) as source:
        yield source


def open_source(spec: SourceSpec) -> AbstractAsyncContextManager[Source]:
    """Connect to whatever broker the spec names."""
    return _open(spec)
