"""Reads what workers print, in a thread of its own, and writes it to their functions' logs.

The rule that must not break: a worker that prints never waits for long, and one that floods costs neither the disk
(what is over its allowance is counted and dropped) nor the event loop (which this thread is not).
"""

from __future__ import annotations

import os
import selectors
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stoker_runtime.clock import SystemClock, monotonic_ns
from stoker_runtime.rotating_log import MAX_LINE_CHARS, LogLine, RotatingLog
from stoker_runtime.stdio import MARK, MARK_END, PROGRESS_MARK, PROGRESS_STREAM

_READ_BYTES: Final = 256 * 1024
_ALLOWANCE_BYTES: Final = 4 * 1024 * 1024
_ALLOWANCE_BYTES_PER_S: Final = 1024 * 1024
_TAIL_LINES: Final = 40


class CapturedOutput:
    """One worker's two pipes, and the last lines that came through them."""

    def __init__(self, replica_id: str, log_path: Path) -> None:
        self.replica_id = replica_id
        self.log_path = log_path
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.ended = threading.Event()
        self.on_end: Callable[[], None] | None = None
        self.open_streams = 2
        self.allowance = float(_ALLOWANCE_BYTES)
        self.allowance_ns = monotonic_ns()
        self.dropped_lines = 0

    def tail_text(self) -> str:
        """The last lines, as text."""
        return "\n".join(self.tail)

    def admits(self, size_bytes: int) -> bool:
        """Take so many bytes from the allowance, if they are there."""
        now_ns = monotonic_ns()
        refill = (now_ns - self.allowance_ns) / 1e9 * _ALLOWANCE_BYTES_PER_S
        self.allowance = min(float(_ALLOWANCE_BYTES), self.allowance + refill)
        self.allowance_ns = now_ns
        if size_bytes > self.allowance:
            return False
        self.allowance -= size_bytes
        return True


class _Stream:
    __slots__ = ("name", "output", "pending")

    def __init__(self, output: CapturedOutput, name: str) -> None:
        self.output = output
        self.name = name
        self.pending = b""


class LogCollector:
    """One thread for all workers of a platform. ``on_lines`` is told, on it, of each piece written to a log."""

    def __init__(self, on_lines: Callable[[Path, list[LogLine]], None] | None = None) -> None:
        self._on_lines = on_lines
        self._clock = SystemClock()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._new: deque[tuple[int, _Stream]] = deque()
        self._logs: dict[Path, RotatingLog] = {}
        self._users: dict[Path, int] = {}
        self._fences: deque[Callable[[], None]] = deque()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="log-collector", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Read what is there, then stop."""
        self._is_closing = True
        self._wake()
        if self._thread.ident is not None:
            self._thread.join()
        for descriptor in (self._wake_read, self._wake_write):
            os.close(descriptor)
        self._selector.close()

    def capture(self, replica_id: str, log_path: Path) -> tuple[CapturedOutput, int, int]:
        """The capture of a new worker, and the write ends for its stdout and stderr (the caller closes them)."""
        output = CapturedOutput(replica_id, log_path)
        write_ends = []
        for name in ("stdout", "stderr"):
            read_end, write_end = os.pipe()
            os.set_blocking(read_end, False)
            self._new.append((read_end, _Stream(output, name)))
            write_ends.append(write_end)
        self._wake()
        return output, write_ends[0], write_ends[1]

    def fence(self, then: Callable[[], None]) -> None:
        """Call ``then``, on the thread, once all that workers had written before this moment is handed on."""
        self._fences.append(then)
        self._wake()

    def _wake(self) -> None:
        os.write(self._wake_write, b"x")

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._read_wake()
                else:
                    self._read(key.fd, key.data)
            while self._new:
                descriptor, stream = self._new.popleft()
                self._open_log(stream)
                self._selector.register(descriptor, selectors.EVENT_READ, stream)
            if self._is_closing:
                self._finish()
            if self._fences:
                self._pass_fences()
            if self._is_closing:
                return

    def _pass_fences(self) -> None:
        count = len(self._fences)
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                self._read(key.fd, key.data)  # a pipe holds less than one read takes
        for _ in range(count):
            self._fences.popleft()()

    def _read_wake(self) -> None:
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass

    def _read(self, descriptor: int, stream: _Stream) -> bool:
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self._take(stream, data)
            return True
        self._end(descriptor, stream)
        return False

    def _take(self, stream: _Stream, data: bytes) -> None:
        output = stream.output
        if not output.admits(len(data)):
            output.dropped_lines += max(data.count(b"\n"), 1)
            stream.pending = b""
            return
        whole, separator, rest = (stream.pending + data).rpartition(b"\n")
        stream.pending = rest if len(rest) <= MAX_LINE_CHARS * 4 else b""
        lines = whole.split(b"\n") if separator else []
        if stream.pending is not rest:
            lines.append(rest)
        self._write(stream, lines)

    def _write(self, stream: _Stream, raw_lines: list[bytes]) -> None:
        output = stream.output
        time = self._clock.now().isoformat(timespec="milliseconds")
        lines: list[LogLine] = []
        if output.dropped_lines and raw_lines:
            notice = f"[{output.dropped_lines} lines dropped: printed faster than the log takes]"
            output.dropped_lines = 0
            lines.append(LogLine(time, output.replica_id, "", "platform", notice))
        for raw in raw_lines:
            text = raw[: MAX_LINE_CHARS * 4].decode("utf-8", "replace")
            request = ""
            if text.startswith(MARK) and MARK_END in text:
                request, _, text = text[len(MARK) :].partition(MARK_END)
            name = stream.name
            if request and text.startswith(PROGRESS_MARK):
                name, text = PROGRESS_STREAM, text[len(PROGRESS_MARK) :]
            lines.append(LogLine(time, output.replica_id, request, name, text[:MAX_LINE_CHARS].rstrip("\r")))
        output.tail.extend(line.line for line in lines)
        log = self._logs.get(output.log_path)
        if log is not None and lines:
            log.append(lines)
            if self._on_lines is not None:
                self._on_lines(output.log_path, lines)

    def _end(self, descriptor: int, stream: _Stream) -> None:
        self._selector.unregister(descriptor)
        os.close(descriptor)
        output = stream.output
        if stream.pending or output.dropped_lines:
            self._write(stream, [stream.pending] if stream.pending else [b""])
        output.open_streams -= 1
        self._close_log(output.log_path)
        if not output.open_streams:
            output.ended.set()
            if output.on_end is not None:
                output.on_end()

    def _open_log(self, stream: _Stream) -> None:
        path = stream.output.log_path
        self._users[path] = self._users.get(path, 0) + 1
        if path not in self._logs:
            try:
                self._logs[path] = RotatingLog(path)
            except OSError:
                pass  # no log, but the worker must still be drained

    def _close_log(self, path: Path) -> None:
        self._users[path] -= 1
        if not self._users[path]:
            del self._users[path]
            log = self._logs.pop(path, None)
            if log is not None:
                log.close()

    def _finish(self) -> None:
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                while self._read(key.fd, key.data):
                    pass
                if key.fd in self._selector.get_map():
                    self._end(key.fd, key.data)
