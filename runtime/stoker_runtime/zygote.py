"""The zygote of one environment: imports the heavy modules once, then forks a worker in milliseconds.

``python -m stoker_runtime.zygote CONTROL_FD``. The rule that must not break: this process has one thread, no event
loop, never runs user code or a parallel region, and ends with its platform: when the control socket closes, it kills
every worker and leaves.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
from typing import Final, NoReturn

from stoker_runtime import worker  # everything a worker needs, imported once for all of them
from stoker_runtime.private_mounts import hide_all_but
from stoker_runtime.process_tree import kill_group, sweep_orphans
from stoker_runtime.rehearsal import rehearse
from stoker_runtime.sandbox import Fence, become_subreaper, enter_sandbox, prepare_scratch, reachable_fence
from stoker_runtime.zygote_messages import (
    MAX_DESCRIPTORS,
    MAX_MESSAGE_BYTES,
    Configure,
    Event,
    Exited,
    Fork,
    Forked,
    ForkFailed,
    Ready,
    decode_order,
    encode,
)

_ALWAYS: Final = ("asyncio", "uvloop", "pydantic")  # what async and typed functions would import anyway
_SWEEP_AGAIN_MS: Final = 20
_LAST_SWEEPS: Final = 250


class Zygote:
    """Waits for orders and for the end of its children, in one ``poll``."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._replicas: dict[int, str] = {}
        self._pid_by_pidfd: dict[int, int] = {}
        self._fence = Fence.SAME_USER
        self._unreported: list[Exited] = []
        self._sweeps_left = 0

    def run(self) -> None:
        """Serve until the platform closes the control socket."""
        while True:
            for descriptor, _ in self._poll.poll(_SWEEP_AGAIN_MS if self._unreported else None):
                if descriptor == self._control.fileno():
                    if not self._take_order():
                        self._end_all()
                        return
                elif descriptor in self._pid_by_pidfd:
                    self._bury(descriptor)
            if self._unreported:
                self._sweep()

    def _take_order(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._control, MAX_MESSAGE_BYTES, MAX_DESCRIPTORS)
        if not data:
            return False
        order = decode_order.decode(data)
        if isinstance(order, Configure):
            self._configure(order)
            return True
        try:
            self._fork(order, descriptors)
        except OSError as error:
            self._tell(ForkFailed(order.replica_id, str(error)))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _configure(self, order: Configure) -> None:
        failures: list[tuple[str, str]] = []
        threaded = ""
        for module in (*_ALWAYS, *order.preload, *order.optional_preload):
            failure = _import(module)
            if failure and module not in _ALWAYS:
                failures.append((module, failure))
            if _threads() > 1:
                threaded = module
                break
        rehearse()
        _settle_torch()
        if order.probe_user_id:
            self._fence = reachable_fence(order.probe_user_id, order.readable_paths)
        unhidden = self._hide(order)
        gc.collect()
        gc.freeze()
        self._tell(Ready(self._fence.value, failures, threaded, unhidden))

    def _hide(self, order: Configure) -> str:
        """Keep workers from what file modes do not protect; why it failed, or ""."""
        if not order.hidden_folder or self._fence not in (Fence.OWN_USER_THAT_READS, Fence.ROOT):
            return ""
        try:
            hide_all_but(order.hidden_folder, order.shown_folders)
        except OSError as error:
            return str(error)
        return ""

    def _fork(self, order: Fork, descriptors: list[int]) -> None:
        assert _threads() == 1, "a zygote with threads must not fork"
        has_own_user = self._fence in (Fence.OWN_USER, Fence.OWN_USER_THAT_READS)
        prepare_scratch(order.scratch_dir, order.user_id if has_own_user else None)
        own_pid = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_worker(order, descriptors, own_pid)
        pidfd = os.pidfd_open(pid)
        self._replicas[pid] = order.replica_id
        self._pid_by_pidfd[pidfd] = pid
        self._poll.register(pidfd, select.POLLIN)
        self._tell(Forked(order.replica_id, pid), [pidfd])

    def _become_worker(self, order: Fork, descriptors: list[int], parent_pid: int) -> NoReturn:
        try:
            self._control.close()
            for pidfd in self._pid_by_pidfd:
                os.close(pidfd)
            worker_socket, stdout, stderr, journal = descriptors
            os.dup2(stdout, 1)
            os.dup2(stderr, 2)
            os.close(stdout)
            os.close(stderr)
            for procs in order.cgroup_procs:
                _join_cgroup(procs)
            enter_sandbox(self._fence, order.user_id, parent_pid)
            os.chdir(order.scratch_dir)
            for name in ("HOME", "TMPDIR"):
                os.environ[name] = order.scratch_dir
            os.environ["STOKER_REPLICA"] = order.replica_id
            worker.run_worker(socket.socket(fileno=worker_socket), journal)
        except BaseException as error:
            os.write(2, f"the worker could not be set up: {error!r}\n".encode())
        finally:
            os._exit(70)

    def _bury(self, pidfd: int) -> None:
        pid = self._pid_by_pidfd.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        kill_group(pid)  # its id cannot be another's before it is reaped
        _, status = os.waitpid(pid, 0)
        self._unreported.append(Exited(self._replicas.pop(pid), pid, status))
        self._sweeps_left = _LAST_SWEEPS

    def _sweep(self) -> None:
        """Tell of the dead once nothing of them is left (or it cannot be ended: a process stuck in the kernel)."""
        self._sweeps_left -= 1
        if sweep_orphans(self._replicas) == 0 or self._sweeps_left <= 0:
            for exited in self._unreported:
                self._tell(exited)
            self._unreported.clear()

    def _end_all(self) -> None:
        for pid in list(self._replicas):
            kill_group(pid)
            os.kill(pid, signal.SIGKILL)
        for pidfd in list(self._pid_by_pidfd):
            self._bury(pidfd)
        waiter = select.poll()
        for _ in range(_LAST_SWEEPS):
            if not sweep_orphans(()):
                return
            waiter.poll(_SWEEP_AGAIN_MS)

    def _tell(self, event: Event, descriptors: list[int] | None = None) -> None:
        try:
            socket.send_fds(self._control, [encode(event)], descriptors or [])
        except (BrokenPipeError, ConnectionResetError):
            pass  # the platform is gone; the next poll says so


def _import(module: str) -> str:
    """Import it; what went wrong, or ""."""
    try:
        importlib.import_module(module)
    except BaseException as error:  # a module may raise anything, even SystemExit
        return f"{type(error).__name__}: {error}"
    return ""


def _settle_torch() -> None:
    torch = sys.modules.get("torch")
    if torch is not None:  # before any operation: a used OpenMP team does not survive a fork
        torch.set_num_threads(1)
        torch.manual_seed(0)  # each worker seeds anew: what that imports and reads on first use is paid here, once


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _join_cgroup(procs: str) -> None:
    try:
        with open(procs, "w") as file:
            file.write("0")
    except OSError:
        pass  # one fence fewer; the platform watches memory itself


def main() -> None:
    """Serve on the control socket named by the first argument."""
    become_subreaper()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C is for the platform, which then drains
    control = socket.socket(fileno=int(sys.argv[1]))
    sys.path[:] = [entry for entry in sys.path if entry not in ("", os.getcwd())]
    Zygote(control).run()
    os._exit(0)


if __name__ == "__main__":
    main()
