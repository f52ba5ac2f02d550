"""The worker's end of its socket, for workers that block: no event loop, one system call a frame.

The rule that must not break: a frame is written whole, whichever thread writes it.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from typing import Final

import msgspec

from stoker_runtime.frame_buffer import Frame, FrameBuffer
from stoker_runtime.frames import FrameKind, pack

_MAX_JOINED_BYTES: Final = 64 * 1024
_MAX_BUFFERS: Final = 512  # IOV_MAX is 1024


class PlatformGone(Exception):
    """The platform closed the socket: nobody is left to answer."""


class Channel:
    """Frames in and out of a blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = FrameBuffer()
        self._frames: deque[Frame] = deque()
        self._write_lock = threading.Lock()

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._socket.fileno()

    def receive(self) -> Frame:
        """The next frame; waits for it. Raises ``PlatformGone``."""
        while not self._frames:
            self._read(0)
        return self._frames.popleft()

    def poll(self) -> Frame | None:
        """The next frame if it is there already."""
        if not self._frames:
            try:
                self._read(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
        return self._frames.popleft() if self._frames else None

    def send(self, kind: FrameKind, header: msgspec.Struct | None, *bodies: bytes | memoryview) -> None:
        """Write one frame; waits while the platform is slow to read."""
        self.send_buffers(pack(kind, header, *bodies))

    def send_buffers(self, buffers: list[bytes | memoryview]) -> None:
        """Write a frame that is packed already."""
        with self._write_lock:
            if sum(map(len, buffers)) <= _MAX_JOINED_BYTES:
                self._socket.sendall(b"".join(buffers))
            else:
                self._send_large([memoryview(buffer).cast("B") for buffer in buffers if len(buffer)])

    def _read(self, flags: int) -> None:
        received = self._socket.recv_into(self._buffer.get_buffer(), 0, flags)
        if not received:
            raise PlatformGone
        self._frames.extend(self._buffer.buffer_updated(received))

    def _send_large(self, buffers: list[memoryview]) -> None:
        first = 0
        while first < len(buffers):
            sent = self._socket.sendmsg(buffers[first : first + _MAX_BUFFERS])
            while first < len(buffers) and sent >= len(buffers[first]):
                sent -= len(buffers[first])
                first += 1
            if sent:
                buffers[first] = buffers[first][sent:]
