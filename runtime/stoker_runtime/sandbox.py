"""What a freshly forked worker gives up before it meets user code.

The rule that must not break: everything here happens before any byte of the bundle is read, and a step that the
machine refuses is reported, never fatal: a worker with fewer fences is still a worker.

Where the platform runs as root, each replica gets a user of its own, so that process limits count only its own and it
can signal nobody else. Where that user cannot reach the interpreter (it lives below a private home), it keeps one
capability, to read; where even that is refused, it stays root.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
from enum import Enum
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_KEEPCAPS: Final = 8
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_CAP_DAC_READ_SEARCH: Final = 2
_CAPABILITY_VERSION_3: Final = 0x20080522

MAX_PROCESSES: Final = 512
"""Processes and threads of one replica, where they can be counted apart."""
MAX_OPEN_FILES: Final = 65_536

_libc = ctypes.CDLL(None, use_errno=True)


class Fence(Enum):
    """How a worker's user is set apart."""

    SAME_USER = "same user"  # not root: nothing to give up
    OWN_USER = "own user"
    OWN_USER_THAT_READS = "own user that reads"  # keeps CAP_DAC_READ_SEARCH
    ROOT = "root"  # the machine refuses the others


def become_subreaper() -> None:
    """Orphaned descendants become children of this process, which can find and end them."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def enter_sandbox(fence: Fence, user_id: int, parent_pid: int) -> None:
    """Own session, own user, limits, and death with the parent."""
    os.setsid()
    become_subreaper()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    if fence in (Fence.OWN_USER, Fence.OWN_USER_THAT_READS):
        _lower(resource.RLIMIT_NPROC, MAX_PROCESSES)
        become_user(user_id, keeps_reading=fence is Fence.OWN_USER_THAT_READS)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # a change of user clears this one, so it comes last
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(0)  # the parent died before the line above


def become_user(user_id: int, *, keeps_reading: bool) -> None:
    """Become ``user_id`` for good; raises ``OSError`` where the machine refuses."""
    if keeps_reading:
        _libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user_id, user_id, user_id)
    os.setresuid(user_id, user_id, user_id)
    if keeps_reading:
        _keep_only(_CAP_DAC_READ_SEARCH)


def reachable_fence(user_id: int, paths: list[str]) -> Fence:
    """The strictest fence under which ``paths`` can still be read; tried out in children that end at once."""
    if os.geteuid() != 0:
        return Fence.SAME_USER
    for fence in (Fence.OWN_USER, Fence.OWN_USER_THAT_READS):
        child = os.fork()
        if child == 0:
            _probe(fence, user_id, paths)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) == 0:
            return fence
    return Fence.ROOT


def prepare_scratch(scratch_dir: str, user_id: int | None) -> None:
    """The replica's own folder, which nobody else may enter."""
    Path(scratch_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
    if user_id is not None:
        os.chown(scratch_dir, user_id, user_id)


def _probe(fence: Fence, user_id: int, paths: list[str]) -> None:
    try:
        become_user(user_id, keeps_reading=fence is Fence.OWN_USER_THAT_READS)
        readable = all(os.access(path, os.R_OK, effective_ids=True) for path in paths)
        os._exit(0 if readable else 1)
    except BaseException:
        os._exit(2)


def _keep_only(capability: int) -> None:
    bits = 1 << capability
    header = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    data = struct.pack("<6I", bits, bits, bits, 0, 0, 0)  # effective, permitted, inheritable: low words, high words
    if _libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    # programs that user code starts live below the same private home
    if _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_CAP_AMBIENT_RAISE")


def _lower(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    try:
        resource.setrlimit(kind, (limit, limit))
    except (OSError, ValueError):
        pass
