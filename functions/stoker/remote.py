"""What ``Function.remote`` and its kin do: one shared client per platform and process.

The rule that must not break: a client is never shared across a fork or between event loops.
"""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from stoker.batch_run import BatchRun, start_batch
from stoker.call_request import CallTarget
from stoker.client import AsyncClient, Client
from stoker.connection import Connection, find_connection
from stoker.job import AsyncJob, Job, spawn, spawn_async
from stoker.map_progress import ordered_map
from stoker.streamed_call import StreamedCall

_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Connection, AsyncClient]] = WeakKeyDictionary()
_keepers: WeakKeyDictionary[asyncio.AbstractEventLoop, list[AsyncGenerator[AsyncClient, None]]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class RemoteTarget:
    """A function on a platform."""

    connection: Connection
    target: CallTarget

    def call(self, args: Sequence[object], kwargs: Mapping[str, object]) -> Any:
        """Wait for the answer."""
        return shared_client(self.connection).call(self.target, args, kwargs)

    async def call_async(self, args: Sequence[object], kwargs: Mapping[str, object]) -> Any:
        """Wait for the answer without blocking the loop."""
        client = await shared_async_client(self.connection)
        return await client.call(self.target, args, kwargs)

    def map(
        self, items: Iterable[object], concurrency: int, return_exceptions: bool, progress: bool | None
    ) -> Iterator[Any]:
        """Answers in the order of the items."""
        client = shared_client(self.connection)
        return ordered_map(
            lambda item: client.call(self.target, (item,)),
            items,
            concurrency=concurrency,
            return_exceptions=return_exceptions,
            title=self.target.name,
            progress=progress,
        )

    def spawn(self, args: Sequence[object], kwargs: Mapping[str, object]) -> Job:
        """A durable call: on the platform's disk when this returns."""
        return spawn(shared_client(self.connection), self.target, args, kwargs)

    async def spawn_async(self, args: Sequence[object], kwargs: Mapping[str, object]) -> AsyncJob:
        """The same without blocking the loop."""
        return await spawn_async(await shared_async_client(self.connection), self.target, args, kwargs)

    def batch(self, given: object, **options: Any) -> BatchRun:
        """A run over a data set."""
        return start_batch(shared_client(self.connection), self.target, given, **options)

    def stream(self, args: Sequence[object], kwargs: Mapping[str, object]) -> StreamedCall:
        """Items as they are yielded."""
        return shared_client(self.connection).stream(self.target, args, kwargs)

    async def stream_async(self, args: Sequence[object], kwargs: Mapping[str, object]) -> AsyncIterator[Any]:
        """Items as they are yielded, without blocking the loop."""
        client = await shared_async_client(self.connection)
        async for item in client.stream(self.target, args, kwargs):
            yield item


def remote_target(namespace: str, name: str, version: int | str | None, method: str) -> RemoteTarget:
    """The function on the platform that this process is connected to."""
    return RemoteTarget(find_connection(), CallTarget(name=name, namespace=namespace, version=version, method=method))


def shared_client(connection: Connection) -> Client:
    """This process's client for a platform; closed at exit."""
    return _client(connection, os.getpid())


async def shared_async_client(connection: Connection) -> AsyncClient:
    """This event loop's client for a platform; closed when ``asyncio.run`` ends the loop's async generators."""
    loop = asyncio.get_running_loop()
    clients = _by_loop.setdefault(loop, {})
    if connection not in clients:
        keeper = _keep(connection)
        clients[connection] = await anext(keeper)
        _keepers.setdefault(loop, []).append(keeper)
    return clients[connection]


@lru_cache(maxsize=8)
def _client(connection: Connection, process_id: int) -> Client:
    client = Client(connection.url, connection.token)
    atexit.register(client.close)
    return client


async def _keep(connection: Connection) -> AsyncGenerator[AsyncClient, None]:
    async with AsyncClient(connection.url, connection.token) as client:
        yield client
