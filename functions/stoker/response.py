"""An answer whose status, headers and content type user code chooses itself.

The rule that must not break: it is data only, so a worker can send it without knowing HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Response:
    """What a function returns in order to set the status, headers or content type of its answer."""

    body: object = b""
    """Sent as it is when bytes or text, else encoded like any result."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.status, bool) or not isinstance(self.status, int) or not 200 <= self.status <= 599:
            raise ValueError(f"status must be a whole number from 200 to 599, got {self.status!r}")
        for name, value in self.headers.items():
            if any(mark in f"{name}{value}" for mark in "\r\n\0"):
                raise ValueError(f"header {name!r} must not hold line breaks, got {value!r}")
