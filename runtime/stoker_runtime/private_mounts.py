"""Hides the platform's data directory from workers that could otherwise read it.

Where a worker's user keeps the capability to read (its interpreter lives below a private home) or stays root, file
modes alone do not keep it from the platform's keys and tokens. So its zygote gets a mount namespace of its own, in
which the data directory is empty but for the folders that workers need. The rule that must not break: this happens
before any worker is forked, and what is hidden stays hidden for a worker, which may mount nothing.

Source: mount_namespaces(7), unshare(2), mount(2).
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

_CLONE_NEWNS: Final = 0x00020000
_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_PRIVATE: Final = 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def hide_all_but(folder: str, shown: list[str]) -> None:
    """Empty ``folder`` for this process and its children, but for ``shown``, folders directly below it.

    Needs CAP_SYS_ADMIN; raises ``OSError`` where the machine refuses.
    """
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    kept = {name: os.open(Path(folder, name), os.O_PATH | os.O_DIRECTORY) for name in shown}
    try:
        _mount("tmpfs", folder, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=64k,mode=711")
        for name, descriptor in kept.items():
            place = Path(folder, name)
            place.mkdir(mode=0o711)
            _mount(f"/proc/self/fd/{descriptor}", str(place), "", _MS_BIND | _MS_REC)
    finally:
        for descriptor in kept.values():
            os.close(descriptor)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    done = _libc.mount(source.encode(), target.encode(), kind.encode() or None, flags, options.encode() or None)
    _check(done, f"mount {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)
