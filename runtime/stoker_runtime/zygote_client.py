"""The platform's handle of one zygote process.

The rule that must not break: every worker's end is known exactly once, also when its zygote dies, and no process id
is ever signalled except through its pidfd.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stoker_runtime.sandbox import Fence
from stoker_runtime.zygote_messages import (
    MAX_DESCRIPTORS,
    MAX_MESSAGE_BYTES,
    Configure,
    Exited,
    Fork,
    Forked,
    ForkFailed,
    Order,
    Ready,
    decode_event,
    encode,
)

_END_LIMIT_S: Final = 10.0


class ZygoteFailed(Exception):
    """The zygote could not start, or is gone."""


class ZygoteKilled(ZygoteFailed):
    """It was ended by SIGKILL: by someone or for memory, not by what it ran."""


class ThreadedPreload(ZygoteFailed):
    """A preloaded module starts threads when imported, so nothing can be forked after it."""

    def __init__(self, module: str) -> None:
        super().__init__(f"importing {module} starts threads, so it cannot be preloaded")
        self.module = module


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerExit:
    """How a worker ended."""

    returncode: int | None
    """Its exit status; None where a signal ended it."""
    signal: int | None
    reason: str


@dataclass(slots=True)
class ForkedWorker:
    """A worker process as its zygote reported it."""

    pid: int
    pidfd: int
    exited: asyncio.Future[WorkerExit]


class Zygote:
    """Starts a zygote, asks it for workers, and hears of their ends."""

    def __init__(self) -> None:
        self.fence = Fence.SAME_USER
        self.unhidden = ""
        self.preload_failures: list[tuple[str, str]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._process_ended: asyncio.Future[None] | None = None
        self._control: socket.socket | None = None
        self._ready: asyncio.Future[Ready] | None = None
        self._forking: dict[str, asyncio.Future[ForkedWorker]] = {}
        self._workers: dict[str, ForkedWorker] = {}
        self._outbox: deque[tuple[bytes, list[int]]] = deque()

    @property
    def is_alive(self) -> bool:
        """It can still fork."""
        return self._control is not None

    @property
    def worker_count(self) -> int:
        """Workers that have not ended, and those on their way."""
        return len(self._workers) + len(self._forking)

    async def start(
        self,
        python: Path,
        env: Mapping[str, str],
        folder: Path,
        configure: Configure,
        outputs: tuple[int, int],
        limit_s: float,
    ) -> None:
        """Start the process and wait until it is ready; raises ``ZygoteFailed``. ``outputs`` stay the caller's."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._control = ours
        self._ready = loop.create_future()
        self._process_ended = loop.create_future()
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: ASYNC220  # a vfork: a millisecond
                    [str(python), "-m", "stoker_runtime.zygote", str(theirs.fileno())],
                    env=dict(env),
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=outputs[0],
                    stderr=outputs[1],
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                self._control = None
                raise ZygoteFailed(f"{python} does not start: {error}") from error
        self._pidfd = os.pidfd_open(self._process.pid)
        loop.add_reader(self._pidfd, self._on_process_end)
        loop.add_reader(ours, self._on_readable)
        self._send(configure, [])
        try:
            ready = await asyncio.wait_for(asyncio.shield(self._ready), limit_s)
        except asyncio.TimeoutError as error:
            await self.close()
            raise ZygoteFailed(f"the environment's imports took longer than {limit_s:g} s") from error
        except BaseException:
            await self.close()
            raise
        if ready.threaded:
            await self.close()
            raise ThreadedPreload(ready.threaded)
        self.fence = Fence(ready.fence)
        self.unhidden = ready.unhidden
        self.preload_failures = ready.failures

    async def fork(self, order: Fork, descriptors: Sequence[int]) -> ForkedWorker:
        """A new worker; raises ``ZygoteFailed``. The caller keeps and closes its descriptors."""
        if self._control is None:
            raise ZygoteFailed("the zygote is gone")
        future: asyncio.Future[ForkedWorker] = asyncio.get_running_loop().create_future()
        self._forking[order.replica_id] = future
        self._send(order, [os.dup(descriptor) for descriptor in descriptors])
        return await asyncio.shield(future)

    async def close(self) -> None:
        """End it and all of its workers; returns when they are gone."""
        if self._process is None or self._process_ended is None:
            return
        loop = asyncio.get_running_loop()
        if self._control is not None:
            loop.remove_reader(self._control)
            loop.remove_writer(self._control)
            self._control.close()  # the zygote kills its workers and leaves
            self._control = None
        _, staying = await asyncio.wait({self._process_ended}, timeout=_END_LIMIT_S)
        if staying:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            await self._process_ended
        self._lose_workers()

    def _send(self, order: Order, descriptors: list[int]) -> None:
        self._outbox.append((encode(order), descriptors))
        self._flush()

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._outbox and self._control is not None:
            data, descriptors = self._outbox[0]
            try:
                socket.send_fds(self._control, [data], descriptors)
            except BlockingIOError:
                loop.add_writer(self._control, self._flush)
                return
            except OSError:
                pass  # the zygote is gone; its pidfd says so
            for descriptor in descriptors:
                os.close(descriptor)
            self._outbox.popleft()
        if self._control is not None:
            loop.remove_writer(self._control)

    def _on_readable(self) -> None:
        while self._control is not None:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._control, MAX_MESSAGE_BYTES, MAX_DESCRIPTORS)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._drop_control()
                return
            self._take(decode_event.decode(data), descriptors)

    def _take(self, event: object, descriptors: list[int]) -> None:
        if isinstance(event, Ready):
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(event)
        elif isinstance(event, Forked):
            worker = ForkedWorker(event.pid, descriptors[0], asyncio.get_running_loop().create_future())
            self._workers[event.replica_id] = worker
            self._forking.pop(event.replica_id).set_result(worker)
        elif isinstance(event, ForkFailed):
            self._forking.pop(event.replica_id).set_exception(ZygoteFailed(event.reason))
        elif isinstance(event, Exited):
            worker = self._workers.pop(event.replica_id)
            worker.exited.set_result(exit_of(event.status))

    def _on_process_end(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        assert self._process is not None
        self._process.wait()
        self._on_readable()  # what it had said before it ended
        self._drop_control()
        self._lose_workers()
        if self._process_ended is not None and not self._process_ended.done():
            self._process_ended.set_result(None)

    def _drop_control(self) -> None:
        if self._control is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._control)
            loop.remove_writer(self._control)
            self._control.close()
            self._control = None

    def _lose_workers(self) -> None:
        kind = ZygoteKilled if self._process and self._process.returncode == -signal.SIGKILL else ZygoteFailed
        lost = kind(f"the zygote ended ({_describe_returncode(self._process)})")
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(lost)
            self._ready.exception()  # seen: nobody may wait for it any more
        while self._forking:
            _, future = self._forking.popitem()
            future.set_exception(lost)
            future.exception()
        while self._workers:
            _, worker = self._workers.popitem()
            worker.exited.set_result(
                WorkerExit(returncode=None, signal=signal.SIGKILL, reason="its zygote ended, and it with it")
            )
        while self._outbox:
            for descriptor in self._outbox.popleft()[1]:
                os.close(descriptor)


def exit_of(status: int) -> WorkerExit:
    """Put a ``waitpid`` status into words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        return WorkerExit(returncode=None, signal=number, reason=f"killed by {name}")
    code = os.WEXITSTATUS(status)
    return WorkerExit(returncode=code, signal=None, reason=f"exited with status {code}")


def _describe_returncode(process: subprocess.Popen[bytes] | None) -> str:
    if process is None or process.returncode is None:
        return "closed"
    code = process.returncode
    return f"status {code}" if code >= 0 else f"signal {-code}"
