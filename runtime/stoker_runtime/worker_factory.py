"""Starts workers: finds or starts the zygote of their environment, forks, loads, and cleans up after them.

The rule that must not break: a start either gives a loaded replica or raises, and after either end nothing stays
behind that nobody owns.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from stoker.errors import BundleTampered, StartFailed
from stoker.spec import options_to_json
from stoker_runtime.clock import monotonic_ns
from stoker_runtime.environment_build import BuiltEnvironment
from stoker_runtime.frame_buffer import Frame, FrameBuffer
from stoker_runtime.frames import (
    FrameKind,
    LoadedHeader,
    LoadFailedHeader,
    LoadHeader,
    ProgressHeader,
    pack,
)
from stoker_runtime.log_collector import CapturedOutput, LogCollector
from stoker_runtime.replica_process import ReplicaProcess, StartOrder
from stoker_runtime.zygote_client import ForkedWorker, WorkerExit, ZygoteFailed
from stoker_runtime.zygote_messages import Fork
from stoker_runtime.zygote_pool import FIRST_USER_ID, ZygotePool

_OUTPUT_LIMIT_S: Final = 2.0
_decode_progress: Final = msgspec.msgpack.Decoder(ProgressHeader).decode
_decode_loaded: Final = msgspec.msgpack.Decoder(LoadedHeader).decode
_decode_failed: Final = msgspec.msgpack.Decoder(LoadFailedHeader).decode


class WorkerFactory:
    """Owns the zygotes, the log collector, and every worker until it has ended."""

    def __init__(self, work_dir: Path, *, base_env: Mapping[str, str] | None = None, max_idle_zygotes: int = 4) -> None:
        self._logs = LogCollector()
        self._zygotes = ZygotePool(
            work_dir, dict(os.environ if base_env is None else base_env), self._logs, max_idle=max_idle_zygotes
        )
        self._replicas: dict[str, ReplicaProcess] = {}
        self._slots: set[int] = set()
        self._burials: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> WorkerFactory:
        self._logs.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for replica in self._replicas.values():
            replica.kill()
        await self._zygotes.close()
        if self._burials:
            await asyncio.wait(self._burials)
        await asyncio.to_thread(self._logs.close)

    async def prewarm_environment(self, environment: BuiltEnvironment) -> None:
        """Have the environment's zygote ready before a worker is needed."""
        await self._zygotes.get(environment)

    async def start(self, order: StartOrder, on_phase: Callable[[str], None] = lambda phase: None) -> ReplicaProcess:
        """A loaded replica; raises ``StartFailed``, ``EnvironmentBuildFailed`` or ``BundleTampered``."""
        began_ns = monotonic_ns()
        if not self._zygotes.is_warm(order.environment):
            on_phase("zygote")
        zygote = await self._zygotes.get(order.environment)
        zygote_ns = monotonic_ns() - began_ns
        on_phase("fork")
        slot = self._take_slot()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        output, stdout, stderr = self._logs.capture(order.replica_id, order.log_path)
        scratch = order.scratch_root / order.replica_id
        fork = Fork(order.replica_id, FIRST_USER_ID + slot, str(scratch), [])
        forking = asyncio.ensure_future(zygote.fork(fork, [theirs.fileno(), stdout, stderr]))
        try:
            forked = await asyncio.shield(forking)
        except asyncio.CancelledError:
            forking.add_done_callback(lambda done: self._abandon(done, order, ours, output, scratch, slot))
            raise
        except ZygoteFailed as error:
            ours.close()
            self._slots.discard(slot)
            raise StartFailed(f"no worker could be forked: {error}", start_phase="fork") from error
        finally:
            theirs.close()
            os.close(stdout)
            os.close(stderr)
        replica = self._adopt(order, forked, ours, output, scratch, slot)
        replica.phases_ns = {"zygote": zygote_ns, "fork": monotonic_ns() - began_ns - zygote_ns}
        try:
            await self._load(order, replica, ours, scratch, on_phase)
        except BaseException:
            replica.kill()
            raise
        return replica

    def _take_slot(self) -> int:
        slot = next(number for number in range(len(self._slots) + 1) if number not in self._slots)
        self._slots.add(slot)
        return slot

    def _adopt(
        self,
        order: StartOrder,
        forked: ForkedWorker,
        sock: socket.socket,
        output: CapturedOutput,
        scratch: Path,
        slot: int,
    ) -> ReplicaProcess:
        replica = ReplicaProcess(order, forked, sock, output)
        self._replicas[order.replica_id] = replica
        burial = asyncio.get_running_loop().create_task(self._bury(replica, forked, output, scratch, slot))
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)
        return replica

    def _abandon(
        self,
        forking: asyncio.Future[ForkedWorker],
        order: StartOrder,
        sock: socket.socket,
        output: CapturedOutput,
        scratch: Path,
        slot: int,
    ) -> None:
        """The start was canceled while the fork was on its way."""
        if forking.cancelled() or forking.exception() is not None:
            sock.close()
            self._slots.discard(slot)
        else:
            self._adopt(order, forking.result(), sock, output, scratch, slot).kill()

    async def _bury(
        self, replica: ReplicaProcess, forked: ForkedWorker, output: CapturedOutput, scratch: Path, slot: int
    ) -> None:
        ended = await forked.exited
        await self._output_ended(output)
        await asyncio.to_thread(shutil.rmtree, scratch, True)

        def release() -> None:
            self._slots.discard(slot)
            self._replicas.pop(replica.replica_id, None)

        replica.bury(ended, release)

    async def _output_ended(self, output: CapturedOutput) -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def on_end() -> None:
            loop.call_soon_threadsafe(ended.set)

        output.on_end = on_end
        if not output.ended.is_set():
            try:
                await asyncio.wait_for(ended.wait(), _OUTPUT_LIMIT_S)
            except asyncio.TimeoutError:
                pass  # something outside our reach holds the pipe

    async def _load(
        self,
        order: StartOrder,
        replica: ReplicaProcess,
        sock: socket.socket,
        scratch: Path,
        on_phase: Callable[[str], None],
    ) -> None:
        phase = "verify"
        on_phase(phase)

        def note_phase(name: str) -> None:
            nonlocal phase
            phase = name
            on_phase(name)

        limit_s = order.options.startup_timeout_s
        loading = asyncio.ensure_future(_exchange(sock, order, scratch, note_phase))
        exited = asyncio.ensure_future(replica.wait_exit())
        try:
            await asyncio.wait({loading, exited}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if not loading.done() and not exited.done():
                replica.kill()
                await exited
                detail = f"the replica was not ready within startup_timeout_s={limit_s:g} (it was in {phase})"
                raise StartFailed(detail, start_phase=phase, log_tail=replica.log_tail())
            answer = loading.result() if loading.done() and loading.exception() is None else None
            if isinstance(answer, LoadedHeader):
                replica.phases_ns.update(answer.phases_ns)
                replica.memory_bytes = answer.memory_bytes
                replica.schema_json = answer.schema_json
                replica.streams = answer.streams
                return
            if answer is None:
                replica.kill()  # its socket is gone, so it is of no use
            raise _start_error(answer, phase, await exited, replica.log_tail)
        finally:
            await _settle(loading)
            await _settle(exited)


async def _exchange(
    sock: socket.socket, order: StartOrder, scratch: Path, on_phase: Callable[[str], None]
) -> LoadedHeader | LoadFailedHeader | None:
    """Send LOAD and read until the worker has answered; None: it went away without an answer."""
    loop = asyncio.get_running_loop()
    warmup = order.options.warmup
    header = LoadHeader(
        order.revision_key,
        order.handler,
        "",
        msgspec.json.encode(_spec_of(order)),
        order.bundle_sha256,
        order.public_key,
        {**dict(order.options.env), **order.secret_env, **order.device_env},
        b"" if warmup is None else msgspec.json.encode(warmup),
        str(scratch),
        order.signature,
    )
    try:
        for part in pack(FrameKind.LOAD, header, order.bundle):
            await loop.sock_sendall(sock, part)
        buffer = FrameBuffer()
        while True:
            received = await loop.sock_recv_into(sock, buffer.get_buffer())
            if not received:
                return None
            for frame in buffer.buffer_updated(received):
                answer = _answer(frame, on_phase)
                if answer is not None:
                    return answer
    except OSError:
        return None


def _spec_of(order: StartOrder) -> dict[str, object]:
    spec: dict[str, object] = options_to_json(order.options)
    for key in ("name", "warmup", "secrets"):
        spec.pop(key, None)
    return spec


def _answer(frame: Frame, on_phase: Callable[[str], None]) -> LoadedHeader | LoadFailedHeader | None:
    if frame.kind == FrameKind.PROGRESS:
        on_phase(_decode_progress(frame.header).phase)
        return None
    if frame.kind == FrameKind.LOADED:
        return _decode_loaded(frame.header)
    return _decode_failed(frame.header) if frame.kind == FrameKind.LOAD_FAILED else None


def _start_error(
    failure: LoadFailedHeader | LoadedHeader | None, phase: str, ended: WorkerExit, log_tail: Callable[[], str]
) -> StartFailed | BundleTampered:
    if not isinstance(failure, LoadFailedHeader):
        detail = f"the worker ended while it was in {phase}: {ended.reason}"
        return StartFailed(detail, start_phase=phase, log_tail=log_tail())
    if failure.code == BundleTampered.code:
        return BundleTampered(failure.message)
    detail = f"{failure.error_type} in {failure.phase}: {failure.message}"
    tail = "\n".join(part for part in (log_tail(), failure.traceback.rstrip()) if part)
    return StartFailed(detail, start_phase=failure.phase, log_tail=tail)


async def _settle(future: asyncio.Future[object] | asyncio.Task[object]) -> None:
    """End a task of ours and take its outcome, whatever it is."""
    if not future.done():
        future.cancel()
    await asyncio.wait({future})
    if not future.cancelled():
        future.exception()
