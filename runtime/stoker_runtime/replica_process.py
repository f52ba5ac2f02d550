"""One replica's process as the pool sees it: its start as an order, its life as events.

The rule that must not break: when ``wait_exit`` returns, nothing of the replica is left: no process, no scratch
folder, no open descriptor.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from stoker.options import FunctionOptions
from stoker_runtime.environment_build import BuiltEnvironment
from stoker_runtime.frames import INTERRUPT, LoadedHeader
from stoker_runtime.journal import Journal
from stoker_runtime.log_collector import CapturedOutput
from stoker_runtime.process_memory import MemoryGauge
from stoker_runtime.zygote_client import ForkedWorker, WorkerExit


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOrder:
    """All that a replica's start needs."""

    revision_key: str
    replica_id: str
    handler: str
    options: FunctionOptions
    bundle: bytes
    bundle_sha256: str
    signature: bytes
    public_key: bytes
    environment: BuiltEnvironment
    device_env: dict[str, str]
    """Which device it may use, e.g. ``CUDA_VISIBLE_DEVICES``."""
    secret_env: dict[str, str]
    memory_limit_bytes: int | None
    scratch_root: Path
    log_path: Path


class ReplicaProcess:
    """A loaded worker. ``socket`` is the platform's end: whoever takes it closes it."""

    def __init__(
        self,
        replica_id: str,
        forked: ForkedWorker,
        sock: socket.socket,
        output: CapturedOutput,
        journal: Journal | None = None,
    ) -> None:
        self.replica_id = replica_id
        self.pid = forked.pid
        self._memory = MemoryGauge(forked.pid)
        self.phases_ns: dict[str, int] = {}
        """zygote, fork, verify, unpickle, enter, warmup."""
        self.memory_bytes = 0
        self.schema_json = b""
        self.streams = False
        self.parks = False
        """It can leave its device for host memory and come back."""
        self.journal: Journal | None = None
        """Where the worker keeps results that it has not sent; None: it sends each at once. Closed by its link."""
        self._unused_journal = journal
        self._forked = forked
        self._socket = sock
        self._owns_socket = False
        self._output = output
        self._ended: asyncio.Future[WorkerExit] = asyncio.get_running_loop().create_future()

    @property
    def socket(self) -> socket.socket:
        """The platform's end, non-blocking. Reading this hands it over."""
        self._owns_socket = False
        return self._socket

    @property
    def is_alive(self) -> bool:
        """Its end has not been reported."""
        return not self._forked.exited.done()

    async def wait_exit(self) -> WorkerExit:
        """How it ended, once nothing of it is left."""
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        """SIGKILL, at once; its zygote then ends whatever it had started."""
        if self.is_alive:
            try:
                signal.pidfd_send_signal(self._forked.pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass  # dead, and its report on the way

    def interrupt(self) -> None:
        """Have it look for a CANCEL frame now, also from within user code."""
        if self.is_alive:
            try:
                signal.pidfd_send_signal(self._forked.pidfd, INTERRUPT)
            except ProcessLookupError:
                pass

    async def stop(self, grace_s: float) -> None:
        """Wait for it to leave by itself (a STOP frame was sent); kill it after ``grace_s``."""
        await asyncio.wait({self._ended}, timeout=grace_s)
        self.kill()
        await self.wait_exit()

    def memory_now_bytes(self) -> int:
        """What it costs now, shared pages by share; 0 when it is gone."""
        return self._memory.now_bytes() if self.is_alive else 0

    def log_tail(self) -> str:
        """Its last printed lines."""
        return self._output.tail_text()

    def become_ready(self, loaded: LoadedHeader) -> None:
        """Take what the worker said of itself when it had loaded."""
        self.phases_ns.update(loaded.phases_ns)
        self.memory_bytes = loaded.memory_bytes
        self.schema_json = loaded.schema_json
        self.streams = loaded.streams
        self.parks = loaded.parks
        if loaded.journals:
            self.journal, self._unused_journal = self._unused_journal, None
        self._owns_socket = True

    def bury(self, ended: WorkerExit) -> None:
        """Close what is left of it and tell who waits; called once, by its factory."""
        os.close(self._forked.pidfd)
        if self._owns_socket:
            self._socket.close()
        if self._unused_journal is not None:
            self._unused_journal.close()
        if not self._ended.done():
            self._ended.set_result(ended)
