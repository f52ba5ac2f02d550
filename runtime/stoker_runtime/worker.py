"""The life of a worker, from the fork to its exit: verify, unpickle, enter, warm up, serve, leave.

The rule that must not break: nothing of a bundle is unpickled or executed before its hash and signature are checked,
and whatever fails until then or after is told to the platform as data before the process leaves.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from stoker.bundle import extract_files, load_target, verify
from stoker.errors import PlatformError
from stoker.options import FunctionOptions
from stoker.spec import options_from_json
from stoker_runtime import stdio
from stoker_runtime.async_worker import AsyncWorker
from stoker_runtime.channel import Channel, PlatformGone
from stoker_runtime.clock import monotonic_ns
from stoker_runtime.codec import decode_json
from stoker_runtime.entries import Entries, Entry, entries_of
from stoker_runtime.frames import (
    FrameKind,
    LoadedHeader,
    LoadFailedHeader,
    LoadHeader,
    ProgressHeader,
)
from stoker_runtime.fresh_state import reseed, size_thread_pools
from stoker_runtime.journal import JournalWriter
from stoker_runtime.json_schema import function_schema
from stoker_runtime.process_memory import proportional_bytes
from stoker_runtime.remote_error import describe
from stoker_runtime.signature import Binder
from stoker_runtime.sync_worker import SyncWorker
from stoker_runtime.threaded_worker import ThreadedWorker

_decode_load: Final = msgspec.msgpack.Decoder(LoadHeader).decode
LOAD_FAILED_STATUS: Final = 3


class _Loading:
    """The steps of a start, each told to the platform as it begins and timed as it ends."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.phase = "verify"
        self.phases_ns: dict[str, int] = {}
        self._since_ns = monotonic_ns()

    def begin(self, phase: str) -> None:
        self.end()
        self.phase = phase
        self._channel.send(FrameKind.PROGRESS, ProgressHeader(phase))
        self._since_ns = monotonic_ns()

    def end(self) -> None:
        self.phases_ns[self.phase] = self.phases_ns.get(self.phase, 0) + monotonic_ns() - self._since_ns


def run_worker(sock: socket.socket, journal: int | None = None) -> NoReturn:
    """Be a worker on this socket, in this freshly forked process; never returns."""
    status = 0
    try:
        stdio.capture()
        status = _live(sock, journal)
    except PlatformGone:
        pass
    except BaseException as error:  # the top of the process: say it in the log and leave
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
    finally:
        os._exit(status)  # tearing an interpreter down takes 0.4 s with torch


def _live(sock: socket.socket, journal: int | None) -> int:
    channel = Channel(sock)
    loading = _Loading(channel)
    frame = channel.receive()
    loop: asyncio.AbstractEventLoop | None = None
    try:
        header = _decode_load(frame.header)
        options = options_from_json("loaded", msgspec.json.decode(header.spec_json))
        entries = _load(loading, header, options, bytes(frame.body))
        if entries.is_async or any(inspect.iscoroutinefunction(hook) for hook in entries.enter + entries.exit):
            loop = _new_loop()
        loading.begin("enter")
        for hook in entries.enter:
            _run_hook(hook, loop)
        if header.warmup_json:
            loading.begin("warmup")
            _warm_up(entries, header.warmup_json, options, loop)
        loading.end()
        loaded = LoadedHeader(
            loading.phases_ns,
            proportional_bytes(os.getpid()),
            function_schema(_public(entries), entries.default.name if entries.default else None),
            entries.default.streams if entries.default else False,
            journal is not None and _is_sync(entries, options),
            entries.find_parking(),
        )
    except BaseException as error:  # of user code, or a refusal of ours: it travels as data
        channel.send(FrameKind.LOAD_FAILED, _failure(loading.phase, error))
        return LOAD_FAILED_STATUS
    channel.send(FrameKind.LOADED, loaded)
    _serve(sock, channel, entries, options, loop, journal)
    for hook in entries.exit:
        _run_hook(hook, loop)
    return 0


def _load(loading: _Loading, header: LoadHeader, options: FunctionOptions, data: bytes) -> Entries:
    verify(data, header.signature, header.public_key, header.bundle_sha256)
    os.environ.update(header.env)
    reseed()
    size_thread_pools(options.cpu)
    loading.begin("unpickle")
    scratch = Path(header.scratch_dir)
    extract_files(data, scratch)
    sys.path.insert(0, str(scratch))
    target = load_target(data, header.handler)
    return entries_of(target, is_batched=options.batch is not None, method=header.method)


def _serve(
    sock: socket.socket,
    channel: Channel,
    entries: Entries,
    options: FunctionOptions,
    loop: asyncio.AbstractEventLoop | None,
    journal: int | None,
) -> None:
    is_batched = options.batch is not None
    narrows = options.batch is not None and options.batch.isolate_errors
    if loop is not None and entries.is_async:
        limit = max(options.concurrency, 1)

        async def serve() -> None:
            await AsyncWorker(entries, is_batched=is_batched, concurrency=limit, narrows=narrows).run(sock)

        loop.run_until_complete(serve())
    elif options.concurrency > 1:
        ThreadedWorker(channel, entries, concurrency=options.concurrency).run()
    else:
        writer = None if journal is None else JournalWriter(journal)
        SyncWorker(channel, entries, is_batched=is_batched, narrows=narrows, journal=writer).run()


def _is_sync(entries: Entries, options: FunctionOptions) -> bool:
    """One call at a time, without a loop."""
    return not entries.is_async and options.concurrency <= 1


def _warm_up(
    entries: Entries, warmup_json: bytes, options: FunctionOptions, loop: asyncio.AbstractEventLoop | None
) -> None:
    entry = entries.default
    if entry is None:
        return
    args, kwargs = entry.binder.bind(decode_json(warmup_json))
    if options.batch is not None:
        named = entry.binder.by_name((args, kwargs))
        _finish(entry, entry.call(**{name: [value] for name, value in named.items()}), loop)
    else:
        _finish(entry, entry.call(*args, **kwargs), loop)


def _finish(entry: Entry, value: object, loop: asyncio.AbstractEventLoop | None) -> None:
    """Run a warm-up to its end, whatever kind of function it is."""
    if inspect.isasyncgen(value):
        assert loop is not None

        async def drain() -> None:
            async for _ in value:
                pass

        loop.run_until_complete(drain())
    elif inspect.isgenerator(value):
        for _ in value:
            pass
    elif inspect.iscoroutine(value):
        assert loop is not None
        loop.run_until_complete(value)


def _run_hook(hook: Callable[[], object], loop: asyncio.AbstractEventLoop | None) -> None:
    value = hook()
    if inspect.iscoroutine(value):
        assert loop is not None
        loop.run_until_complete(value)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        loop = asyncio.new_event_loop()
    else:
        loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


def _public(entries: Entries) -> dict[str, Binder]:
    if entries.default is not None and entries.default.name == "":
        return {"": entries.default.binder}
    return {name: entry.binder for name, entry in entries.by_name.items()}


def _failure(phase: str, error: BaseException) -> LoadFailedHeader:
    code = error.code if isinstance(error, PlatformError) else "function_error"
    body = describe(error)
    message = error.detail if isinstance(error, PlatformError) else body.message
    return LoadFailedHeader(phase, code, body.error_type, message, body.traceback)
