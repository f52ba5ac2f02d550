"""The answering side of a connection: who is answered now, who waits, and what becomes of a peer that is refused.

Invocations and requests of the ASGI app take their turn in one pipeline. The rule that must not break: answers leave
in the order of the requests, and nothing more is read from a peer that does not take them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import ClassVar

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from stoker.errors import PlatformError
from stoker_api.gateway.answer import CONTINUE
from stoker_api.gateway.cycle import InvokeCycle, too_large
from stoker_api.gateway.gateway import Gateway
from stoker_api.gateway.head import RequestHead
from stoker_api.gateway.refusals import RequestTimeout
from stoker_api.gateway.sweeper import ConnectionState, Sweeper
from stoker_runtime.clock import monotonic_ns

Cycle = InvokeCycle | RequestResponseCycle


class PipelinedConnection(HttpToolsProtocol):
    """One connection, apart from the reading of requests."""

    gateway: ClassVar[Gateway]
    sweeper: ClassVar[Sweeper]

    # ---- its life

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._active: Cycle | None = None  # its answer is the next to be written
        self._waiting: deque[tuple[Cycle, ASGI3Application | None]] = deque()
        self._receiving: InvokeCycle | None = None  # whose body is being read
        self._is_parsing = False  # a message has begun and is not complete
        self._in_head = False
        self._head_bytes = 0
        self._body_bytes = 0
        self._is_deaf = False  # refused: what the peer still sends is dropped
        self._declined_head = b""  # of a request to be parsed again, without its offer to upgrade
        self._has_declined = False
        self._is_advancing = False
        self._is_admitted = False
        self.write_paused_ns = 0
        self.since_ns = monotonic_ns()
        try:
            self.gateway.admit_connection()
        except PlatformError as error:
            self._begin(self._refusing_cycle(error))
            return
        self._is_admitted = True
        self.sweeper.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        self._let_go()
        cycles: list[Cycle] = [cycle for cycle, _ in self._waiting]
        self._waiting.clear()
        if self._active is not None:
            cycles.append(self._active)
        for cycle in cycles:
            if isinstance(cycle, InvokeCycle):
                cycle.disconnect()
            else:
                cycle.disconnected = not cycle.response_complete
                cycle.message_event.set()
        self.flow.resume_writing()
        if exc is None:
            self.transport.close()
        self.parser = None  # type: ignore[assignment]

    def _let_go(self) -> None:
        """The gateway has this connection no longer: it was lost, or another protocol took it over."""
        self.sweeper.discard(self)
        if self._is_admitted:
            self._is_admitted = False
            self.gateway.counters.connections -= 1

    def shutdown(self) -> None:
        """The server stops: finish what is in flight, take nothing new."""
        self.gateway.drain()
        if self._active is None and self._receiving is None and not self._waiting:
            self.transport.close()
            return
        for cycle in (self._active, self._receiving):
            if cycle is not None:
                cycle.keep_alive = False

    # ---- turns

    def _begin(self, cycle: InvokeCycle) -> None:
        """Take a new cycle in: at once, or after those before it."""
        head, limits = cycle.head, self.gateway.limits
        self.cycle = cycle  # type: ignore[assignment]
        if self._active is not None or self._waiting:
            self.flow.pause_reading()
            self._waiting.append((cycle, None))
        else:
            self._active = cycle
        if head.content_length is not None and head.content_length > limits.max_body_bytes:
            self._reject(too_large(limits.max_body_bytes))
        elif self._active is cycle:
            self._take_turn(cycle)

    def _take_turn(self, cycle: InvokeCycle) -> None:
        if cycle.is_complete:
            cycle.run()
            return
        if not cycle.head.wants_100_continue:
            return
        try:
            cycle.check()
        except PlatformError as error:
            self._reject(error)
            return
        self.transport.write(CONTINUE)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if self._active is not None or self._waiting:
            self.flow.pause_reading()
            self._waiting.append((cycle, app))
            return
        self._active = cycle
        super()._start_asgi_task(cycle, app)

    def cycle_done(self, cycle: InvokeCycle, now_ns: int) -> None:
        """An invocation's answer is written."""
        self.server_state.total_requests += 1
        self._active = None
        self.since_ns = now_ns
        if not cycle.keep_alive:
            self._leave()
        elif self._waiting or self.flow.read_paused or self.gateway.is_draining:
            self._advance()

    def on_response_complete(self) -> None:
        """The ASGI app's answer is written."""
        self.server_state.total_requests += 1
        self._active = None
        self.since_ns = monotonic_ns()
        self._advance()

    def _advance(self) -> None:
        """Start what waits, as long as nothing is being answered and the peer takes the answers."""
        if self._is_advancing or self.transport.is_closing():
            return
        self._is_advancing = True  # an answer given at once comes back here: a loop, not a recursion
        try:
            while self._active is None and self._waiting and not self.flow.write_paused:
                cycle, app = self._waiting.popleft()
                self._active = cycle
                if isinstance(cycle, InvokeCycle):
                    self._take_turn(cycle)
                else:
                    assert app is not None
                    super()._start_asgi_task(cycle, app)
        finally:
            self._is_advancing = False
        if self._waiting or self.flow.write_paused:
            return
        if self.gateway.is_draining and self._active is None and not self._is_deaf:
            self.transport.close()
        elif not self._is_stuffed():
            self.flow.resume_reading()

    def _is_stuffed(self) -> bool:
        """The app has not yet taken what was read for it."""
        active = self._active
        return isinstance(active, RequestResponseCycle) and len(active.body) > HIGH_WATER_LIMIT

    # ---- refusing

    def _refusing_cycle(self, error: PlatformError) -> InvokeCycle:
        self._is_deaf = True
        cycle = InvokeCycle(self, RequestHead(keep_alive=False, fault=error))
        cycle.is_complete = True
        return cycle

    def _reject(self, error: PlatformError) -> None:
        """Refuse the request that is being read, and listen no more: its end cannot be found, or is not wanted."""
        is_body = self._is_parsing and not self._in_head
        self._is_deaf = True
        self._is_parsing = self._in_head = False
        cycle, self._receiving = self._receiving, None
        if cycle is not None:
            cycle.head.fault = error
            cycle.keep_alive = False
            cycle.complete()
            if self._active is cycle:
                cycle.run()
        elif not is_body:
            self._begin(self._refusing_cycle(error))
        elif isinstance(self._active, RequestResponseCycle) and self.cycle is self._active:
            self._drop_asgi(self._active, error)
        elif self._active is None and not self._waiting:
            self.transport.close()  # the app had answered without waiting for the body
        else:
            self._begin(self._refusing_cycle(error))

    def _drop_asgi(self, cycle: RequestResponseCycle, error: PlatformError) -> None:
        """The body of a request that the app is reading went wrong: the app is told that the peer left."""
        cycle.disconnected = True
        cycle.message_event.set()
        self._active = None
        if cycle.response_started:
            self.transport.close()
        else:
            self._begin(self._refusing_cycle(error))

    def _leave(self) -> None:
        """Close after the last answer; a peer that may still be sending gets the time to read it first."""
        self._waiting.clear()
        is_quick = self.gateway.is_draining and not self._is_deaf
        if is_quick or not self.transport.can_write_eof() or self.transport.is_closing():
            self.transport.close()
            return
        self._is_deaf = True  # closing with bytes unread would reset the connection, and lose the answer
        self.transport.write_eof()
        self.flow.resume_reading()
        self.sweeper.add(self)

    # ---- writing

    def common_headers(self) -> bytes:
        """What the server puts into every answer."""
        return self.gateway.common_headers(self.server_state.default_headers)

    @property
    def is_write_paused(self) -> bool:
        """The peer takes less than it is sent."""
        return self.flow.write_paused

    def send(self, *parts: bytes | memoryview) -> None:
        """Write pieces without joining them, unless the connection is gone."""
        if not self.transport.is_closing():
            self.transport.writelines(parts)

    def send_one(self, data: bytes) -> None:
        """Write one piece, unless the connection is gone."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def pause_writing(self) -> None:
        """The peer reads too slowly: read nothing more from it until it has caught up."""
        self.flow.pause_writing()
        self.flow.pause_reading()
        self.write_paused_ns = monotonic_ns()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.flow.resume_writing()
        self.write_paused_ns = 0
        if isinstance(self._active, InvokeCycle):
            self._active.write_ready()
        self._advance()

    # ---- time

    def state(self) -> ConnectionState:
        """What the connection is at, for the sweeper."""
        if self.write_paused_ns:
            return ConnectionState.STALLED
        if self._is_deaf:
            return ConnectionState.LINGERING if self._active is None else ConnectionState.BUSY
        if self._in_head:
            return ConnectionState.HEAD
        if self._is_parsing and not self.flow.read_paused:
            return ConnectionState.BODY
        if self._active is not None or self._waiting:
            return ConnectionState.BUSY
        return ConnectionState.IDLE

    @property
    def received_bytes(self) -> int:
        """Of the body that is being read."""
        return self._receiving.body_bytes if self._receiving is not None else self._body_bytes

    def unsent_bytes(self) -> int:
        """What the peer has not taken yet."""
        return self.transport.get_write_buffer_size()

    def refuse_slow(self) -> None:
        """The peer took too long to send its request."""
        self._reject(RequestTimeout("the request did not arrive in time", hint="Send it without pausing."))

    def close(self) -> None:
        """Nothing is in flight: leave."""
        self.transport.close()

    def abort(self) -> None:
        """Leave without waiting for the peer to take what is unsent."""
        self.transport.abort()
