"""Tells when a file was saved, by inotify.

The rule that must not break: no polling; editors that write a new file and rename it over the old one are seen too,
since the folder is watched and not the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from stoker.errors import Conflict

_IN_CLOSE_WRITE: Final = 0x8
_IN_MOVED_TO: Final = 0x80
_EVENT: Final = struct.Struct("iIII")
_READ_BYTES: Final = 64 * 1024


@contextlib.asynccontextmanager
async def saved(path: Path) -> AsyncIterator[asyncio.Event]:
    """An event that is set at every save of ``path``; the caller clears it."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise Conflict(f"files cannot be watched: {os.strerror(ctypes.get_errno())}")
    try:
        if libc.inotify_add_watch(descriptor, os.fsencode(path.parent), _IN_CLOSE_WRITE | _IN_MOVED_TO) < 0:
            raise Conflict(f"{path.parent} cannot be watched: {os.strerror(ctypes.get_errno())}")
        event = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_ready() -> None:
            if os.fsencode(path.name) in _names(os.read(descriptor, _READ_BYTES)):
                event.set()

        loop.add_reader(descriptor, on_ready)
        try:
            yield event
        finally:
            loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)


def _names(data: bytes) -> set[bytes]:
    names, position = set(), 0
    while position + _EVENT.size <= len(data):
        length = _EVENT.unpack_from(data, position)[3]
        position += _EVENT.size
        names.add(data[position : position + length].rstrip(b"\0"))
        position += length
    return names
