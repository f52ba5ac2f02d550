"""Server-sent events from the bytes of an answer.

The rule that must not break: an event counts only when its closing empty line has come, so a cut stream never looks
like a whole one. Lines end at CR and LF only: JSON text may hold the other characters that Python calls line ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class ServerEvent(NamedTuple):
    """One event."""

    name: str
    data: str


class EventParser:
    """Takes pieces of a body as they come, gives an event at each empty line."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._name = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        """The events that ``piece`` completes."""
        if b"\n" not in piece:
            self._pieces.append(piece)
            return
        whole, _, rest = (b"".join(self._pieces) + piece).rpartition(b"\n")
        self._pieces = [rest]
        for line in whole.split(b"\n"):
            event = self.line(line.removesuffix(b"\r").decode("utf-8", "replace"))
            if event is not None:
                yield event

    def line(self, line: str) -> ServerEvent | None:
        """The event that this line, without its end, completes."""
        if not line:
            event = ServerEvent(self._name or "message", "\n".join(self._data)) if self._data or self._name else None
            self._name, self._data = "", []
            return event
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            self._name = value
        elif key == "data":
            self._data.append(value)
        return None
