"""Which call a worker has started, and the results that it has not sent yet, in memory that outlives it.

A worker of short calls answers several of them in one write. Should it die before that write, the platform finds here
what had finished and what never started, so a death still costs no more than the call that ran. The rule that must not
break: what a worker writes here is never trusted: sizes are checked, and a result counts only for a call that it holds.

Layout: ``<u32 turn><u32 length><u64 started>``, then entries ``<u32 header length><u32 body length><msgpack
ResultHeader><body>``. ``turn`` changes when the entries were sent and the space is used again; ``length`` grows after
its entry is whole; ``started`` is the highest id of a call that was begun.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from typing import Final, NamedTuple

import msgspec

from stoker_runtime.frames import ResultHeader

SIZE_BYTES: Final = 64 * 1024
_STATE: Final = struct.Struct("<II")
_STARTED: Final = struct.Struct("<Q")
_START_BYTES: Final = _STATE.size + _STARTED.size
_ENTRY: Final = struct.Struct("<II")
_decode: Final = msgspec.msgpack.Decoder(ResultHeader).decode


class Snapshot(NamedTuple):
    """What was in a journal at one instant."""

    turn: int
    length: int


class Journal:
    """The platform's view. Made before the fork; ``fileno`` is handed to the worker."""

    def __init__(self) -> None:
        self._file = os.memfd_create("stoker-results", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self._file, SIZE_BYTES)
            # a worker that could shrink it would have the platform read memory that is not there
            fcntl.fcntl(self._file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            self._map = mmap.mmap(self._file, SIZE_BYTES)
        except BaseException:
            os.close(self._file)
            raise

    def fileno(self) -> int:
        """The memory as a descriptor, until ``forget_file``."""
        return self._file

    def forget_file(self) -> None:
        """The worker has its own descriptor now."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def close(self) -> None:
        """Give the memory back; safe to call twice."""
        self.forget_file()
        self._map.close()

    def look(self) -> Snapshot:
        """How much is there now."""
        return Snapshot(0, 0) if self._map.closed else Snapshot(*_STATE.unpack_from(self._map))

    def started_id(self) -> int:
        """The highest id of a call that was begun; 0 = none."""
        return 0 if self._map.closed else int(_STARTED.unpack_from(self._map, _STATE.size)[0])

    def results(self, snapshot: Snapshot | None = None) -> list[tuple[ResultHeader, bytes]]:
        """What is there, or was there at ``snapshot`` and still is."""
        now = self.look()
        if snapshot is not None and now.turn != snapshot.turn:
            return []
        length = (now if snapshot is None else snapshot).length
        data = self._map[_START_BYTES : _START_BYTES + min(length, SIZE_BYTES)] if length else b""
        found: list[tuple[ResultHeader, bytes]] = []
        start = 0
        while start + _ENTRY.size <= len(data):
            header_bytes, body_bytes = _ENTRY.unpack_from(data, start)
            body_start = start + _ENTRY.size + header_bytes
            start = body_start + body_bytes
            if start > len(data):
                break
            try:
                found.append((_decode(data[body_start - header_bytes : body_start]), data[body_start:start]))
            except msgspec.MsgspecError:
                break
        return found


class JournalWriter:
    """The worker's view."""

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, SIZE_BYTES)
        os.close(descriptor)
        self._turn = 0
        self._end = _START_BYTES
        self._started_id = 0

    def start(self, call_id: int) -> None:
        """The call begins now, and all before it have been begun."""
        if call_id > self._started_id:
            self._started_id = call_id
            _STARTED.pack_into(self._map, _STATE.size, call_id)

    def add(self, header: bytes, body: bytes | memoryview) -> bool:
        """Keep one result; False: it does not fit, so what is here is to be sent first."""
        end = self._end + _ENTRY.size + len(header) + len(body)
        if end > SIZE_BYTES:
            return False
        self._map[self._end : end] = b"".join((_ENTRY.pack(len(header), len(body)), header, body))
        self._end = end
        _STATE.pack_into(self._map, 0, self._turn, end - _START_BYTES)
        return True

    def clear(self) -> None:
        """All that was here is sent."""
        if self._end > _START_BYTES:
            self._turn = (self._turn + 1) & 0xFFFFFFFF
            self._end = _START_BYTES
            _STATE.pack_into(self._map, 0, self._turn, 0)
