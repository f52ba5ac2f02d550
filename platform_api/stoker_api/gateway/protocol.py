"""The HTTP protocol of the port: uvicorn's own, with the invocation path answered on the spot.

One parser per connection. Once a request's head is complete, an invocation gets a cycle of ours, and everything else
goes to the ASGI app as usual. The rule that must not break: whatever a peer sends, it gets one answer per request, or
a closed connection, and no more of it is kept than the limits say.
"""

from __future__ import annotations

import logging

import httptools

from stoker.errors import PlatformError
from stoker_api.gateway.connection import PipelinedConnection
from stoker_api.gateway.cycle import InvokeCycle, too_large
from stoker_api.gateway.cycle_choice import cycle_class
from stoker_api.gateway.gateway import Gateway
from stoker_api.gateway.head import RequestHead, read_head
from stoker_api.gateway.problems import INTERNAL
from stoker_api.gateway.refusals import BadRequest, HeadersTooLarge
from stoker_api.gateway.request_head_cache import HEAD_END
from stoker_api.gateway.sweeper import Sweeper
from stoker_api.gateway.target import MalformedTarget, parse_target
from stoker_runtime.clock import monotonic_ns

log = logging.getLogger("stoker.gateway")


class GatewayProtocol(PipelinedConnection):
    """The reading side of a connection. ``make_protocol_class`` binds it to a gateway."""

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        if self._active is None and not self._is_parsing and not self._waiting:
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
        if self._in_head:
            self._head_bytes += len(data)  # of a head that is longer than one read
        self._single: InvokeCycle | None = None
        upgrade_at: int | None = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            upgrade_at = upgrade.args[0]
        except httptools.HttpParserError as error:
            if not self._is_deaf:
                self._reject(self._parse_fault(error))
            return
        if upgrade_at is not None:
            self._upgrade(data[upgrade_at:])
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
        self._head_bytes = 0
        self._receiving = None
        self._body_bytes = 0
        self.since_ns = monotonic_ns()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._is_deaf:
            return
        fault = self._head_fault()
        if fault is not None:
            self._reject(fault)
            return
        head = self._read_invocation()
        if self._decline_upgrade(is_ours=head is not None):
            return
        if head is None:
            self._to_asgi()
            return
        self._in_head = False
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

    @staticmethod
    def _parse_fault(error: httptools.HttpParserError) -> PlatformError:
        cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None
        if cause is None or isinstance(cause, httptools.HttpParserError | UnicodeDecodeError):
            log.debug("invalid HTTP", exc_info=error)
            return BadRequest("the bytes received are no valid HTTP/1.1 request")
        log.error("a parser callback failed", exc_info=cause)
        return INTERNAL

    def _head_fault(self) -> PlatformError | None:
        limits = self.gateway.limits
        if len(self.headers) > limits.max_headers:
            return HeadersTooLarge(
                f"the request has {len(self.headers)} headers, at most {limits.max_headers} are taken"
            )
        head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        return self._too_long() if head_bytes > limits.max_header_bytes else None

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
        url, headers, limit_bytes = self.url, self.headers, self.gateway.limits.max_upload_bytes
        if any(name == b"content-length" and int(value) > limit_bytes for name, value in headers):
            self._reject(too_large(limit_bytes))
            return
        super().on_message_begin()  # makes the scope; forgets what was read
        self.url = url
        self.headers.extend(headers)
        self.expect_100_continue = any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in headers
        )
        super().on_headers_complete()
        self._in_head = False
        if self.pipeline:  # uvicorn queued it behind the cycle before; the queue here knows of ours too
            self._waiting.append(self.pipeline.pop())

    def _upgrade(self, rest: bytes) -> None:
        declined, self._declined_head = self._declined_head, b""
        if declined:
            # the parser takes an offer to upgrade for the end of HTTP: begin again without the offer
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self._parse(declined + rest)
        elif self._should_upgrade():
            self._let_go()
            self.handle_websocket_upgrade()
        elif not self._is_deaf:
            self._reject(BadRequest("the request asks for a tunnel or a protocol that is not spoken here"))

    def _too_long(self) -> HeadersTooLarge:
        return HeadersTooLarge(f"the request's head is over {self.gateway.limits.max_header_bytes} bytes")

    def _decline_upgrade(self, *, is_ours: bool) -> bool:
        """Whether the head offers to speak something else (HTTP/2, say) that is not spoken here."""
        if not self.parser.should_upgrade() or self.parser.get_method() == b"CONNECT":
            return False
        if self._should_upgrade() and not is_ours:
            return False
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/1.1"]
        lines += [name + b": " + value for name, value in self.headers if name not in (b"upgrade", b"connection")]
        if self._has_declined:  # clients offer once; one that goes on would have each request parsed twice
            lines.append(b"connection: close")
        self._has_declined = True
        self._declined_head = b"\r\n".join(lines) + b"\r\n\r\n"
        return True


def make_protocol_class(gateway: Gateway) -> type[GatewayProtocol]:
    """The class for uvicorn's ``http=`` setting, bound to ``gateway``."""
    sweeper = Sweeper(gateway.limits)
    return type("BoundGatewayProtocol", (GatewayProtocol,), {"gateway": gateway, "sweeper": sweeper})
