"""The HTTP protocol of the port: uvicorn's own, with the invocation path answered on the spot.

One parser per connection. Once a request's head is complete, an invocation gets a cycle of ours, and everything else
goes to the ASGI app as usual; both take their turn in one pipeline, so answers leave in the order of the requests.
The rule that must not break: whatever a peer sends, it gets one answer per request, in order, or a closed connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import ClassVar

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from stoker.errors import PlatformError
from stoker_api.gateway.answer import CONTINUE
from stoker_api.gateway.cycle import InvokeCycle, too_large
from stoker_api.gateway.cycle_choice import cycle_class
from stoker_api.gateway.gateway import Gateway
from stoker_api.gateway.head import RequestHead, read_head
from stoker_api.gateway.refusals import BadRequest, HeadersTooLarge, RequestTimeout
from stoker_api.gateway.request_head_cache import HEAD_END
from stoker_api.gateway.sweeper import ConnectionState, Sweeper
from stoker_api.gateway.target import MalformedTarget, parse_target
from stoker_runtime.clock import monotonic_ns

log = logging.getLogger("stoker.gateway")

Cycle = InvokeCycle | RequestResponseCycle


class GatewayProtocol(HttpToolsProtocol):
    """One connection. ``make_protocol_class`` binds it to a gateway."""

    gateway: ClassVar[Gateway]
    sweeper: ClassVar[Sweeper]

    # ---- the connection's life

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
        self.sweeper.discard(self)
        if self._is_admitted:
            self._is_admitted = False
            self.gateway.counters.connections -= 1
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

    def shutdown(self) -> None:
        """The server stops: finish what is in flight, take nothing new."""
        self.gateway.drain()
        if self._active is None and self._receiving is None:
            self.transport.close()
            return
        for cycle in (self._active, self._receiving):
            if cycle is not None:
                cycle.keep_alive = False

    def pause_writing(self) -> None:
        """The peer reads too slowly: read nothing more from it until it has caught up."""
        self.flow.pause_writing()
        self.flow.pause_reading()
        self.write_paused_ns = monotonic_ns()

    def resume_writing(self) -> None:
        self.flow.resume_writing()
        self.write_paused_ns = 0
        if isinstance(self._active, InvokeCycle):
            self._active.write_ready()
        self._advance()

    # ---- reading

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        if self._active is None and not self._is_parsing:
            head_bytes = data.find(HEAD_END)
            head = self.gateway.heads.heads.get(data[:head_bytes])
            if head is not None and head_bytes + 4 + (head.content_length or 0) == len(data):
                cycle = cycle_class(head)(self, head)
                cycle.body = data[head_bytes + 4 :]
                cycle.is_complete = True
                self._active = self.cycle = cycle  # type: ignore[assignment]
                cycle.run()
                return
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        is_fresh = not self._is_parsing
        if self._in_head or is_fresh:
            self._head_bytes += len(data)
        self._single: InvokeCycle | None = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if not self._is_deaf:
                log.debug("invalid HTTP", exc_info=error)
                self._reject(BadRequest("the bytes received are no valid HTTP/1.1 request"))
            return
        if self._in_head and self._head_bytes > self.gateway.limits.max_header_bytes and not self._is_deaf:
            self._reject(self._too_long())
        single = self._single
        if is_fresh and single is not None and single.is_complete and not self._is_parsing:
            self.gateway.heads.offer(data, single.head, single.body)

    def on_message_begin(self) -> None:
        if self.transport.is_closing() or (self.cycle is not None and not self.cycle.keep_alive):
            self._is_deaf = True  # the answer before said or will say that the connection closes
        self.url = b""
        self.headers = []
        self._is_parsing = self._in_head = True
        self._receiving = None
        self._body_bytes = 0
        self.since_ns = monotonic_ns()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._is_deaf:
            return
        fault = self._head_fault()
        self._head_bytes = 0
        if fault is not None:
            self._reject(fault)
            return
        if self._decline_upgrade():
            return
        head = self._read_invocation()
        if head is None:
            self._to_asgi()
            return
        self._receiving = self._single = cycle = cycle_class(head)(self, head)
        self._begin(cycle)

    def on_body(self, body: bytes) -> None:
        if self._is_deaf:
            return
        cycle = self._receiving
        if cycle is not None:
            try:
                cycle.feed(body, self.gateway.limits.max_body_bytes)
            except PlatformError as error:
                self._reject(error)
            return
        self._body_bytes += len(body)
        if self._body_bytes > self.gateway.limits.max_upload_bytes:
            self._reject(too_large(self.gateway.limits.max_upload_bytes))
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_parsing = False
        if self._is_deaf or self._declined_head:
            return
        cycle, self._receiving = self._receiving, None
        if cycle is None:
            super().on_message_complete()
            return
        cycle.complete()
        if self._active is cycle and not cycle.response_complete:
            cycle.run()

    # ---- one request

    def _head_fault(self) -> PlatformError | None:
        limits = self.gateway.limits
        if len(self.headers) > limits.max_headers:
            return HeadersTooLarge(
                f"the request has {len(self.headers)} headers, at most {limits.max_headers} are taken"
            )
        if self._head_bytes > limits.max_header_bytes:
            head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if head_bytes > limits.max_header_bytes:
                return self._too_long()
        return None

    def _read_invocation(self) -> RequestHead | None:
        if not self.url.startswith((b"/f/", b"/n/", b"/v1/models/", b"/v2/models/", b"http")):
            return None
        parsed = httptools.parse_url(self.url)
        try:
            target = parse_target(parsed.path or b"")
            if target is None:
                return None
        except MalformedTarget:
            target = None
        is_11 = self.parser.get_http_version() == "1.1"
        return read_head(
            target,
            self.parser.get_method(),
            parsed.query or b"",
            self.headers,
            keep_alive=is_11 and self.parser.should_keep_alive(),
            http_10=not is_11,
        )

    def _to_asgi(self) -> None:
        url, headers = self.url, self.headers
        super().on_message_begin()  # makes the scope; forgets what was read
        self.url = url
        self.headers.extend(headers)
        announced_bytes = 0
        for name, value in headers:
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            elif name == b"content-length":
                announced_bytes = int(value)
        if announced_bytes > self.gateway.limits.max_upload_bytes:
            self._reject(too_large(self.gateway.limits.max_upload_bytes))
            return
        super().on_headers_complete()
        if self.pipeline:  # uvicorn queued it behind the cycle before; the queue here knows of ours too
            self._waiting.append(self.pipeline.pop())

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
        elif cycle.is_complete:
            if self._active is cycle:
                cycle.run()
        elif head.wants_100_continue and self._active is cycle:
            self._answer_expectation(cycle)

    def _answer_expectation(self, cycle: InvokeCycle) -> None:
        try:
            cycle.check()
        except PlatformError as error:
            self._reject(error)
            return
        self.transport.write(CONTINUE)

    def _refusing_cycle(self, error: PlatformError) -> InvokeCycle:
        self._is_deaf = True
        cycle = InvokeCycle(self, RequestHead(keep_alive=False, fault=error))
        cycle.is_complete = True
        return cycle

    def _reject(self, error: PlatformError) -> None:
        """Refuse the request that is being read, and listen no more: its end cannot be found, or is not wanted."""
        self._is_deaf = True
        self._is_parsing = self._in_head = False
        cycle, self._receiving = self._receiving, None
        if cycle is not None:
            cycle.head.fault = error
            cycle.keep_alive = False
            cycle.complete()
            if self._active is cycle:
                cycle.run()
            return
        active = self._active
        is_its_body = isinstance(active, RequestResponseCycle) and self.cycle is active and active.more_body
        if is_its_body and isinstance(active, RequestResponseCycle) and not active.response_complete:
            self._drop_asgi(active, error)
            return
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

    def _too_long(self) -> HeadersTooLarge:
        return HeadersTooLarge(f"the request's head is over {self.gateway.limits.max_header_bytes} bytes")

    def _upgrade(self, rest: bytes) -> None:
        declined, self._declined_head = self._declined_head, b""
        if declined:
            # the parser takes an offer to upgrade for the end of HTTP: begin again without the offer
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self._parse(declined + rest)
        elif self._should_upgrade():
            self.sweeper.discard(self)
            self.handle_websocket_upgrade()
        elif not self._is_deaf:
            self._reject(BadRequest("the request asks for a tunnel or a protocol that is not spoken here"))

    def _decline_upgrade(self) -> bool:
        """Whether the head offers to speak something else (HTTP/2, say) that is not spoken here."""
        if not self.parser.should_upgrade() or self.parser.get_method() == b"CONNECT":
            return False
        is_ours = self._read_invocation() is not None
        if self._should_upgrade() and not is_ours:
            return False
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/1.1"]
        lines += [name + b": " + value for name, value in self.headers if name not in (b"upgrade", b"connection")]
        self._declined_head = b"\r\n".join(lines) + b"\r\n\r\n"
        return True

    # ---- answering

    def common_headers(self) -> bytes:
        return self.gateway.common_headers(self.server_state.default_headers)

    @property
    def is_write_paused(self) -> bool:
        return self.flow.write_paused

    def send(self, *parts: bytes | memoryview) -> None:
        """Write pieces without joining them, unless the connection is gone."""
        if not self.transport.is_closing():
            self.transport.writelines(parts)

    def send_one(self, data: bytes) -> None:
        """Write one piece, unless the connection is gone."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def cycle_done(self, cycle: InvokeCycle, now_ns: int) -> None:
        """An invocation's answer is written."""
        self.server_state.total_requests += 1
        self._active = None
        self.since_ns = now_ns
        if not cycle.keep_alive:
            self._leave()
        elif self._waiting or self.flow.read_paused:
            self._advance()

    def on_response_complete(self) -> None:
        """The ASGI app's answer is written."""
        self.server_state.total_requests += 1
        self._active = None
        self.since_ns = monotonic_ns()
        self._advance()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if self._active is not None or self._waiting:
            self.flow.pause_reading()
            self._waiting.append((cycle, app))
            return
        self._active = cycle
        super()._start_asgi_task(cycle, app)

    def _advance(self) -> None:
        """Start what waits, as long as nothing is being answered and the peer takes the answers."""
        if self._is_advancing or self.transport.is_closing():
            return
        self._is_advancing = True  # an answer given at once comes back here: a loop, not a recursion
        try:
            while self._active is None and self._waiting and not self.flow.write_paused:
                cycle, app = self._waiting.popleft()
                if isinstance(cycle, RequestResponseCycle):
                    assert app is not None
                    self._active = cycle
                    super()._start_asgi_task(cycle, app)
                    continue
                self._active = cycle
                if cycle.is_complete:
                    cycle.run()
                elif cycle.head.wants_100_continue:
                    self._answer_expectation(cycle)
        finally:
            self._is_advancing = False
        if not self._waiting and not self.flow.write_paused and not self._is_stuffed():
            self.flow.resume_reading()

    def _is_stuffed(self) -> bool:
        active = self._active
        return isinstance(active, RequestResponseCycle) and len(active.body) > HIGH_WATER_LIMIT

    def _leave(self) -> None:
        """Close after the last answer; a peer that is still sending gets the time to read it first."""
        self._waiting.clear()
        if not self._is_deaf or not self.transport.can_write_eof() or self.transport.is_closing():
            self.transport.close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self.sweeper.add(self)

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


def make_protocol_class(gateway: Gateway) -> type[GatewayProtocol]:
    """The class for uvicorn's ``http=`` setting, bound to ``gateway``."""
    sweeper = Sweeper(gateway.limits)
    return type("BoundGatewayProtocol", (GatewayProtocol,), {"gateway": gateway, "sweeper": sweeper})
