"""Who waits for replicas without having a call to run: ``stoker warmup``, model load, a deploy.

The rule that must not break: a wait ends with what happened, or after its limit.
"""

from __future__ import annotations

import asyncio

from stoker.errors import PlatformError


class WarmUps:
    """Waits of one revision."""

    def __init__(self) -> None:
        self._waits: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def wanted(self) -> int:
        """The most replicas that anyone waits for."""
        return max((wanted for wanted, _ in self._waits), default=0)

    def join(self, wanted: int) -> asyncio.Future[None]:
        """Wait until so many are ready; the caller leaves with ``leave``."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waits.append((wanted, waiter))
        return waiter

    def leave(self, waiter: asyncio.Future[None]) -> None:
        self._waits = [entry for entry in self._waits if entry[1] is not waiter]

    def note_ready(self, ready: int) -> None:
        """So many replicas are ready now."""
        for wanted, waiter in self._waits:
            if ready >= wanted and not waiter.done():
                waiter.set_result(None)

    def fail(self, error: PlatformError) -> None:
        """No start will succeed for now."""
        for _, waiter in self._waits:
            if not waiter.done():
                waiter.set_exception(error)
