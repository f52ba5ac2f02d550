"""Server-sent events from lines of text.

The rule that must not break: an event counts only when its closing empty line has come, so a cut stream never looks
like a whole one.
"""

from __future__ import annotations

from typing import NamedTuple


class ServerEvent(NamedTuple):
    """One event."""

    name: str
    data: str


class EventParser:
    """Takes lines without their ends, gives an event at each empty line."""

    def __init__(self) -> None:
        self._name = ""
        self._data: list[str] = []

    def line(self, line: str) -> ServerEvent | None:
        """The event that this line completes, if any."""
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
