"""Starts workers: finds or starts the zygote of their environment, forks, loads, and cleans up after them.

The rule that must not break: a start either gives a loaded replica or raises, and after either end nothing stays
behind that nobody owns.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import shutil
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from stoker.errors import StartFailed
from stoker_runtime.cgroups import WorkerGroup, make_group, remove_stale_groups
from stoker_runtime.clock import monotonic_ns
from stoker_runtime.environment_build import BuiltEnvironment
from stoker_runtime.frames import LoadedHeader
from stoker_runtime.journal import Journal
from stoker_runtime.load_exchange import exchange, start_error
from stoker_runtime.log_collector import CapturedOutput, LogCollector
from stoker_runtime.replica_process import ReplicaProcess, StartOrder
from stoker_runtime.rotating_log import LogLine
from stoker_runtime.zygote_client import ForkedWorker, Zygote, ZygoteFailed
from stoker_runtime.zygote_messages import Fork
from stoker_runtime.zygote_pool import ZYGOTES_TRIED, ZygotePool, user_id_for

log = logging.getLogger(__name__)

_OUTPUT_LIMIT_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Berth:
    """What a worker is given at its start, and what is taken back at its end."""

    slot: int
    socket: socket.socket
    output: CapturedOutput
    journal: Journal
    scratch: Path
    group: WorkerGroup


class WorkerFactory:
    """Owns the zygotes, the log collector, and every worker until it has ended.

    A worker with a user of its own must reach ``work_dir`` and every order's ``scratch_root``: keep them in one folder.
    Nothing in ``hidden_folder`` but its ``shown_folders`` can be read by user code, where the machine allows it.
    """

    def __init__(
        self,
        work_dir: Path,
        *,
        base_env: Mapping[str, str] | None = None,
        max_idle_zygotes: int = 4,
        on_lines: Callable[[Path, list[LogLine]], None] | None = None,
        hidden_folder: Path | None = None,
        shown_folders: tuple[str, ...] = (),
    ) -> None:
        self._logs = LogCollector(on_lines)
        self._zygotes = ZygotePool(
            work_dir,
            dict(os.environ if base_env is None else base_env),
            self._logs,
            max_idle=max_idle_zygotes,
            hidden_folder=hidden_folder,
            shown_folders=shown_folders,
        )
        self._replicas: set[ReplicaProcess] = set()
        self._slots: set[int] = set()
        self._is_closing = False
        self._burials: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> WorkerFactory:
        remove_stale_groups()
        self._logs.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closing = True
        for replica in self._replicas:
            replica.kill()
        await self._zygotes.close()
        if self._burials:
            await asyncio.wait(self._burials)
        await asyncio.to_thread(self._logs.close)

    def fence_logs(self, then: Callable[[], None]) -> None:
        """Call ``then``, on another thread, once all that workers had printed before this moment is handed on."""
        self._logs.fence(then)

    async def prewarm_environment(self, environment: BuiltEnvironment) -> None:
        """Have the environment's zygote ready before a worker is needed."""
        await self._zygotes.get(environment)

    async def start(self, order: StartOrder, on_phase: Callable[[str], None] = lambda phase: None) -> ReplicaProcess:
        """A loaded replica; raises ``StartFailed``, ``EnvironmentBuildFailed`` or ``BundleTampered``."""
        zygotes_left = ZYGOTES_TRIED
        while True:
            zygotes_left -= 1
            began_ns = monotonic_ns()
            if not self._zygotes.is_warm(order.environment):
                on_phase("zygote")
            zygote = await self._zygotes.get(order.environment)
            try:
                return await self._start_from(zygote, order, began_ns, on_phase)
            except StartFailed as error:
                if zygote.is_alive or self._is_closing or not zygotes_left:
                    raise
                # it took all its workers with it, so this says nothing about the function
                log.warning(
                    "a zygote was lost during a start", extra={"replica": order.replica_id, "reason": str(error)}
                )

    async def _start_from(
        self, zygote: Zygote, order: StartOrder, began_ns: int, on_phase: Callable[[str], None]
    ) -> ReplicaProcess:
        zygote_ns = monotonic_ns() - began_ns
        on_phase("fork")
        berth, forked = await self._fork(zygote, order)
        replica = self._adopt(order, forked, berth)
        replica.phases_ns = {"zygote": zygote_ns, "fork": monotonic_ns() - began_ns - zygote_ns}
        joining = asyncio.ensure_future(asyncio.to_thread(berth.group.adopt, forked.pid))
        try:
            await self._load(order, replica, berth, on_phase)
            await asyncio.shield(joining)
            # a forked process is slow at first, since it copies each page that it touches: all that is the fork's
            named_ns = sum(replica.phases_ns.values()) - replica.phases_ns["fork"]
            replica.phases_ns["fork"] = max(monotonic_ns() - began_ns - named_ns, 0)
        except BaseException:
            replica.kill()
            berth.socket.close()
            raise
        finally:
            await asyncio.wait({joining})
        return replica

    async def _fork(self, zygote: Zygote, order: StartOrder) -> tuple[_Berth, ForkedWorker]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        output, stdout, stderr = self._logs.capture(order.replica_id, order.log_path)
        berth = _Berth(
            slot=self._take_slot(),
            socket=ours,
            output=output,
            journal=Journal(),
            scratch=order.scratch_root / order.replica_id,
            group=make_group(order.replica_id, order.memory_limit_bytes),
        )
        # a memory limit must hold from the first page on; the limit of processes alone may come while it loads
        joins = berth.group.procs if order.memory_limit_bytes is not None else []
        fork = Fork(order.replica_id, user_id_for(berth.slot), str(berth.scratch), joins)
        forking = asyncio.ensure_future(zygote.fork(fork, [theirs.fileno(), stdout, stderr, berth.journal.fileno()]))
        try:
            return berth, await asyncio.shield(forking)
        except asyncio.CancelledError:
            forking.add_done_callback(lambda done: self._abandon(done, order, berth))
            raise
        except ZygoteFailed as error:
            self._release(berth)
            raise StartFailed(f"no worker could be forked: {error}", start_phase="fork") from error
        finally:
            theirs.close()
            berth.journal.forget_file()
            os.close(stdout)
            os.close(stderr)

    def _take_slot(self) -> int:
        slot = next(number for number in range(len(self._slots) + 1) if number not in self._slots)
        self._slots.add(slot)
        return slot

    def _abandon(self, forking: asyncio.Future[ForkedWorker], order: StartOrder, berth: _Berth) -> None:
        """The start was canceled while the fork was on its way."""
        if forking.cancelled() or forking.exception() is not None:
            self._release(berth)
        else:
            berth.socket.close()
            self._adopt(order, forking.result(), berth).kill()

    def _release(self, berth: _Berth) -> None:
        berth.socket.close()
        berth.journal.close()
        berth.group.remove()
        self._slots.discard(berth.slot)

    def _adopt(self, order: StartOrder, forked: ForkedWorker, berth: _Berth) -> ReplicaProcess:
        replica = ReplicaProcess(order.replica_id, forked, berth.socket, berth.output, berth.journal)
        self._replicas.add(replica)
        burial = asyncio.get_running_loop().create_task(self._bury(replica, forked, berth, order.memory_limit_bytes))
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)
        return replica

    async def _bury(
        self, replica: ReplicaProcess, forked: ForkedWorker, berth: _Berth, memory_limit_bytes: int | None
    ) -> None:
        ended = await forked.exited
        berth.group.kill_members()
        await _output_ended(berth.output)
        await asyncio.to_thread(shutil.rmtree, berth.scratch, True)
        if ended.signal == signal.SIGKILL and berth.group.was_out_of_memory():
            reason = f"out of memory: it needed more than its limit of {memory_limit_bytes} bytes"
            ended = dataclasses.replace(ended, reason=reason)
        berth.group.remove()
        self._slots.discard(berth.slot)
        self._replicas.discard(replica)
        replica.bury(ended)

    async def _load(
        self, order: StartOrder, replica: ReplicaProcess, berth: _Berth, on_phase: Callable[[str], None]
    ) -> None:
        phase = "verify"
        on_phase(phase)

        def note_phase(name: str) -> None:
            nonlocal phase
            phase = name
            on_phase(name)

        limit_s = order.options.startup_timeout_s
        loading = asyncio.ensure_future(exchange(berth.socket, order, berth.scratch, note_phase))
        exited = asyncio.ensure_future(replica.wait_exit())
        try:
            await asyncio.wait({loading, exited}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if not loading.done() and not exited.done():
                replica.kill()
                await exited
                detail = f"the replica was not ready within startup_timeout_s={limit_s:g} (it was in {phase})"
                raise StartFailed(detail, start_phase=phase, log_tail=replica.log_tail())
            await asyncio.wait({loading}, timeout=_OUTPUT_LIMIT_S)  # its last words may still be on the way
            answer = loading.result() if loading.done() else None
            if isinstance(answer, LoadedHeader):
                replica.become_ready(answer)
                return
            if answer is None:
                replica.kill()  # its socket is gone, so it is of no use
            raise start_error(answer, phase, await exited, replica.log_tail)
        finally:
            await _settle(loading)
            await _settle(exited)


async def _output_ended(output: CapturedOutput) -> None:
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


async def _settle(future: asyncio.Future[Any]) -> None:
    """End a task of ours and take its outcome, whatever it is."""
    if not future.done():
        future.cancel()
    await asyncio.wait({future})
    if not future.cancelled():
        future.exception()
