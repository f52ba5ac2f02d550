"""Ends the waits for peers: one timer for all connections, so that an idle one costs nothing.

The rule that must not break: a connection whose call is running is never touched.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import Final, Protocol

from stoker_api.gateway.limits import GatewayLimits
from stoker_runtime.clock import monotonic_ns

_NS: Final = 1_000_000_000
_LONGEST_PERIOD_S: Final = 1.0


class ConnectionState(IntEnum):
    """What a connection is at."""

    IDLE = 0
    HEAD = 1  # a request's head is arriving
    BODY = 2  # its body is arriving
    BUSY = 3  # a call is running or being answered
    STALLED = 4  # the peer takes nothing of what is ready
    LINGERING = 5  # refused; the peer may read the refusal


class Verdict(IntEnum):
    """What is to be done with a connection."""

    KEEP = 0
    CLOSE = 1
    REFUSE = 2
    ABORT = 3


class SweptConnection(Protocol):
    """What the sweeper needs of a connection."""

    since_ns: int
    """When its present state began."""
    write_paused_ns: int

    @property
    def received_bytes(self) -> int: ...

    def state(self) -> ConnectionState: ...

    def unsent_bytes(self) -> int: ...

    def refuse_slow(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


def verdict(
    state: ConnectionState, *, waited_s: float, received_bytes: int, unsent_bytes: int, limits: GatewayLimits
) -> Verdict:
    """What a wait of ``waited_s`` in ``state`` deserves. Pure."""
    if state is ConnectionState.BUSY:
        return Verdict.KEEP
    if state is ConnectionState.STALLED:
        return Verdict.ABORT if waited_s > limits.send_timeout_s else Verdict.KEEP
    if state is ConnectionState.LINGERING:
        return Verdict.ABORT if waited_s > limits.linger_s else Verdict.KEEP
    if state is ConnectionState.HEAD:
        return Verdict.REFUSE if waited_s > limits.header_timeout_s else Verdict.KEEP
    if state is ConnectionState.BODY:
        allowed_s = limits.body_timeout_s + received_bytes / limits.min_body_bytes_per_s
        return Verdict.REFUSE if waited_s > allowed_s else Verdict.KEEP
    if waited_s <= limits.keep_alive_timeout_s:
        return Verdict.KEEP
    if unsent_bytes and waited_s <= limits.send_timeout_s + limits.keep_alive_timeout_s:
        return Verdict.KEEP
    return Verdict.ABORT if unsent_bytes else Verdict.CLOSE


class Sweeper:
    """Owns the timer while there are connections."""

    def __init__(self, limits: GatewayLimits) -> None:
        self._limits = limits
        self._connections: dict[SweptConnection, int] = {}  # with what was unsent at the last look
        self._timer: asyncio.TimerHandle | None = None
        waits = (limits.header_timeout_s, limits.body_timeout_s, limits.keep_alive_timeout_s, limits.linger_s)
        self._period_s = min(_LONGEST_PERIOD_S, min(waits) / 2)

    def add(self, connection: SweptConnection) -> None:
        """Watch it."""
        self._connections[connection] = 0
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._period_s, self._tick)

    def discard(self, connection: SweptConnection) -> None:
        """Forget it; the last one stops the timer."""
        self._connections.pop(connection, None)
        if not self._connections and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def sweep(self, now_ns: int) -> None:
        """Look at every connection once."""
        for connection, unsent_before in list(self._connections.items()):
            state = connection.state()
            unsent = connection.unsent_bytes() if state in (ConnectionState.STALLED, ConnectionState.IDLE) else 0
            if state is ConnectionState.STALLED and unsent < unsent_before:
                connection.write_paused_ns = now_ns  # it takes something, if slowly
            self._connections[connection] = unsent
            since_ns = connection.write_paused_ns if state is ConnectionState.STALLED else connection.since_ns
            outcome = verdict(
                state,
                waited_s=(now_ns - since_ns) / _NS,
                received_bytes=connection.received_bytes,
                unsent_bytes=unsent,
                limits=self._limits,
            )
            if outcome is Verdict.REFUSE:
                connection.refuse_slow()
            elif outcome is Verdict.CLOSE:
                connection.close()
            elif outcome is Verdict.ABORT:
                connection.abort()

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._period_s, self._tick)
        self.sweep(monotonic_ns())
