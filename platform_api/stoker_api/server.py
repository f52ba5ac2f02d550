"""The process around a platform: its socket, its signals, uvicorn.

The rule that must not break: the first signal drains and loses no accepted call; a second one ends at once. When
``serve`` has returned, nothing of the platform is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import uvicorn

from stoker.errors import Conflict
from stoker_api.control.app import make_app
from stoker_api.gateway.protocol import make_protocol_class
from stoker_api.platform import Platform
from stoker_api.settings import PlatformSettings, ServerSettings

log = logging.getLogger(__name__)
_BACKLOG = 2048
_SOCKET_MESSAGE_BYTES = 64 * 1024
"""Watchers of a job have little to say."""
_COLLECT_AFTER = 20_000
"""Objects made and not freed before the youngest are looked through; Python's own 700 is reached by one burst."""


@dataclass(frozen=True, slots=True)
class Started:
    """A platform that takes calls."""

    url: str
    token: str
    connection_file: Path
    platform: Platform


async def serve(
    settings: PlatformSettings,
    on_started: Callable[[Started], None],
    beside: Callable[[Started], AbstractAsyncContextManager[None]] | None = None,
) -> None:
    """Run a platform until a signal; ``beside`` runs as long as it does."""
    async with running(settings, handles_signals=True) as (started, stopped):
        _calm_collector()
        on_started(started)
        async with contextlib.AsyncExitStack() as stack:
            if beside is not None:
                await stack.enter_async_context(beside(started))
            await stopped


@contextlib.asynccontextmanager
async def running(
    settings: PlatformSettings, *, handles_signals: bool = False
) -> AsyncIterator[tuple[Started, asyncio.Future[None]]]:
    """A platform that takes calls inside the block; the future is done when its server has stopped."""
    with _bound(settings.server) as listener:
        async with Platform(settings) as platform:
            server = _server(platform)
            if handles_signals:
                _handle_signals(platform, server)
            serving = asyncio.ensure_future(server.serve(sockets=[listener]))
            try:
                await _until_up(server, serving)
                started = await _started(platform, listener)
                yield started, serving
                stop(platform, server)
                await serving
            finally:
                stop(platform, server)
                await asyncio.wait({serving})


def _calm_collector() -> None:
    """Let the garbage collector look at what lives on only rarely: calls leave no cycles behind."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 50)


def stop(platform: Platform, server: uvicorn.Server) -> None:
    """Begin the drain."""
    platform.stop_accepting()
    server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn without its own signals, and with an event for being up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


def _server(platform: Platform) -> _Server:
    settings = platform.settings
    limits = settings.gateway
    config = uvicorn.Config(
        make_app(platform),
        http=make_protocol_class(platform.gateway),
        ws="websockets-sansio",
        ws_max_size=_SOCKET_MESSAGE_BYTES,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=max(1, int(limits.keep_alive_timeout_s)),
        timeout_graceful_shutdown=max(1, int(settings.server.drain_timeout_s)),
    )
    return _Server(config)


async def _until_up(server: _Server, serving: asyncio.Future[None]) -> None:
    up = asyncio.ensure_future(server.is_up.wait())
    waiting: set[asyncio.Future[None] | asyncio.Future[Literal[True]]] = {up, serving}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    up.cancel()
    if serving.done():
        await serving
        raise Conflict("the server ended before it was up")


async def _started(platform: Platform, listener: socket.socket) -> Started:
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    url = f"http://{shown}:{port}"
    token = await platform.first_token()
    platform.dir.write_connection(url, token)
    return Started(url, token, platform.dir.connection, platform)


@contextlib.contextmanager
def _bound(settings: ServerSettings) -> Iterator[socket.socket]:
    """The listening socket, bound before anything else is started: a port in use is told at once."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Conflict(f"--host {settings.host} is no address of this machine: {error}") from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            raise Conflict(
                f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}",
                hint="Another program has it: choose another --port, or 0 for a free one.",
            ) from error
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        yield listener
    finally:
        listener.close()


def _handle_signals(platform: Platform, server: uvicorn.Server) -> None:
    """For good: a second signal must work while replicas are drained."""
    loop = asyncio.get_running_loop()

    def on_signal(name: str) -> None:
        if server.should_exit:
            log.warning("second signal: ending at once", extra={"signal": name})
            server.force_exit = True
            platform.end_at_once()
        else:
            log.info("draining", extra={"signal": name})
            stop(platform, server)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number.name)
