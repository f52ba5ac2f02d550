"""What user code prints, marked with the invocation that printed it.

The rule that must not break: printing never fails and never waits for more than a pipe that the platform keeps
draining. A line written through ``sys.stdout`` carries its invocation's id in front; what C code writes straight to
the descriptor carries none.

A marked line is ``\\x1e<id>\\x1f<line>\\n`` (record and unit separator: printable text has neither). Progress is a line
that begins with ``\\x1d`` (group separator) after that.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterable
from typing import Final

from stoker.call_progress import report_to
from stoker.context import running_call

MARK: Final = "\x1e"
MARK_END: Final = "\x1f"
PROGRESS_MARK: Final = "\x1d"
PROGRESS_STREAM: Final = "progress"
"""What the log calls the stream of such lines."""
MAX_PENDING_CHARS: Final = 64 * 1024


class MarkedStream(io.TextIOBase):
    """Stands for ``sys.stdout`` or ``sys.stderr``: whole lines go out, each with its invocation's id."""

    def __init__(self, descriptor: int, name: str) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._pending: dict[str, str] = {}
        self._lock = threading.RLock()
        self.name = name
        self.buffer = io.FileIO(descriptor, "wb", closefd=False)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "replace"

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        request = _running_request()
        with self._lock:
            whole = self._pending.pop(request, "") + text
            end = whole.rfind("\n") + 1
            if len(whole) - end > MAX_PENDING_CHARS:
                whole, end = whole + "\n", len(whole) + 1
            if end < len(whole):
                self._pending[request] = whole[end:]
            if end:
                self._write_lines(request, whole[:end])
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Nothing waits here but half lines, which stay whole until their newline or their call's end."""

    def end_line(self) -> None:
        """Send the half line of the invocation that ends now."""
        with self._lock:
            request = _running_request()
            rest = self._pending.pop(request, "")
            if rest:
                self._write_lines(request, rest + "\n")

    def report(self, request: str, text: str) -> None:
        """Send a line of progress, between whole lines of what is printed."""
        with self._lock:
            self._write_lines(request, f"{PROGRESS_MARK}{text}\n")

    def _write_lines(self, request: str, lines: str) -> None:
        if request:
            start = f"{MARK}{request}{MARK_END}"
            lines = start + lines[:-1].replace("\n", "\n" + start) + "\n"
        data = memoryview(lines.encode("utf-8", "replace"))
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError:  # the platform is gone; printing must not be what fails
                return


def capture() -> None:
    """Replace ``sys.stdout`` and ``sys.stderr`` of this process."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        stream = MarkedStream(descriptor, f"<{name}>")
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
        if name == "stdout":
            report_to(stream.report)


def end_lines() -> None:
    """The running invocation ends: send its half lines."""
    for stream in (sys.stdout, sys.stderr):
        if type(stream) is MarkedStream and stream._pending:
            stream.end_line()


def _running_request() -> str:
    """The id of the invocation that runs in this thread or task."""
    call = running_call.get()
    return "" if call is None else call[0]
