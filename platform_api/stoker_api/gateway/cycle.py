"""One plain invocation over HTTP: from its head to the last byte of its answer.

No task and no future: the body is complete → authenticate → route → submit; the dispatcher's ``on_done`` writes the
answer in one write. The rule that must not break: each cycle ends exactly once, with an answer or with the caller gone.
"""

from __future__ import annotations

import logging
from typing import Protocol

from stoker.errors import PayloadTooLarge, PlatformError, ShuttingDown
from stoker_api.gateway.answer import (
    JSON_TYPE,
    KNOWN_TYPES,
    checked_headers,
    checked_status,
    checked_type,
    has_body,
    plain_answer,
    render_head,
)
from stoker_api.gateway.gateway import Gateway
from stoker_api.gateway.head import RequestHead
from stoker_api.gateway.ports import Route
from stoker_api.gateway.problems import INTERNAL, PROBLEM_TYPE, encode_problem, problem, problem_headers
from stoker_api.gateway.receipts import receipt, refused_timing, server_timing, with_receipt
from stoker_api.gateway.target import TargetKind
from stoker_runtime.clock import monotonic_ns
from stoker_runtime.invocation import Invocation, Outcome

log = logging.getLogger("stoker.gateway")

_JOIN_LIMIT_BYTES = 64 * 1024


class Connection(Protocol):
    """What a cycle needs of the connection that it came on."""

    @property
    def gateway(self) -> Gateway: ...

    def common_headers(self) -> bytes: ...

    def send(self, *parts: bytes | memoryview) -> None: ...

    def send_one(self, data: bytes) -> None: ...

    def cycle_done(self, cycle: InvokeCycle, now_ns: int) -> None: ...

    @property
    def is_write_paused(self) -> bool: ...


class InvokeCycle:
    """A request on the invocation path. The names without an underscore are the protocol's to read."""

    __slots__ = (
        "_chunks",
        "_connection",
        "_invocation",
        "_is_owner",
        "_request_id",
        "_route",
        "_started_ns",
        "body",
        "body_bytes",
        "disconnected",
        "head",
        "is_complete",
        "keep_alive",
        "response_complete",
        "response_started",
    )

    def __init__(self, connection: Connection, head: RequestHead) -> None:
        self._connection = connection
        self.head = head
        self.keep_alive = head.keep_alive
        self.body = b""
        self.body_bytes = 0
        self.is_complete = False  # the whole body is here
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self._chunks: list[bytes] | None = None
        self._invocation: Invocation | None = None
        self._route: Route | None = None
        self._is_owner = False
        self._request_id = head.request_id
        self._started_ns = 0

    def feed(self, data: bytes, limit_bytes: int) -> None:
        """Add a piece of the body; raises ``PayloadTooLarge``."""
        self.body_bytes += len(data)
        if self.body_bytes > limit_bytes:
            raise too_large(limit_bytes)
        if self.body_bytes == len(data):
            self.body = data
        elif self._chunks is None:
            self._chunks = [self.body, data]
        else:
            self._chunks.append(data)

    def complete(self) -> None:
        """The body's last piece has come."""
        if self._chunks is not None:
            self.body = b"".join(self._chunks)
            self._chunks = None
        self.is_complete = True

    def check(self) -> None:
        """Raise what is known to be wrong before the body is here."""
        if self.head.fault is not None:
            raise self.head.fault
        head = self.head
        self._connection.gateway.find(head.token, head.namespace, head.path, head.sticky)

    def run(self) -> None:
        """Make the call: the body is complete, and the answers before this one are written."""
        self._started_ns = monotonic_ns()
        head, gateway = self.head, self._connection.gateway
        if not self._request_id:
            self._request_id = gateway.new_request_id()
        try:
            if head.fault is not None:
                raise head.fault
            access = gateway.authenticator.authenticate(head.token, head.namespace)
            self._is_owner = access.is_owner
            self._route = route = gateway.router.resolve(head.path, head.sticky)
            if gateway.is_draining:
                self.keep_alive = False
                raise ShuttingDown("the platform is shutting down", hint="Try again: another instance takes over.")
            gateway.counters.bytes_in += len(self.body)
            self.begin(route)
        except PlatformError as error:
            self.refuse(error)
        except Exception:
            log.exception("request failed", extra={"request_id": self._request_id, "function": head.function})
            self.refuse(INTERNAL)

    def begin(self, route: Route) -> None:
        """Hand the call to its dispatcher."""
        self._invocation = invocation = self.new_invocation(self.body, self.head.content_type, self._on_done)
        self._connection.gateway.counters.in_flight += 1
        route.dispatcher.submit(invocation)

    def new_invocation(self, body: bytes, content_type: str, on_done: OnDone) -> Invocation:
        """An invocation with what the head says."""
        head, started_ns = self.head, self._started_ns
        return Invocation(
            body,
            content_type,
            on_done,
            request_id=self._request_id,
            method=head.method_name,
            accept=head.accept,
            encoding=head.encoding,
            priority=head.priority,
            deadline_ns=started_ns + head.timeout_ns if head.timeout_ns else 0,
            accepted_ns=started_ns,
        )

    def disconnect(self) -> None:
        """The caller went away."""
        self.disconnected = True
        if not self.response_complete:
            self._connection.gateway.counters.disconnects += 1
            self.cancel()

    def cancel(self) -> None:
        """Tell the dispatcher that nobody waits."""
        invocation = self._invocation
        if invocation is not None and invocation.cancel is not None:
            invocation.cancel()

    def write_ready(self) -> None:
        """The peer takes bytes again."""

    def observe(self, invocation: Invocation) -> Outcome:
        """Count an ended invocation and tell its route; returns how it ended."""
        self._connection.gateway.counters.in_flight -= 1
        route = self._route
        if route is not None and route.on_done is not None:
            route.on_done(invocation)
        outcome = invocation.outcome
        assert outcome is not None
        return outcome

    def refuse(self, error: PlatformError) -> None:
        """Answer with a problem document (or end what has begun)."""
        if self.disconnected or self.response_complete:
            return
        invocation = self._invocation if self._invocation is not None and self._invocation.outcome else None
        function = self.head.function
        members = problem(error, request_id=self._request_id, function=function, is_owner=self._is_owner)
        if self.head.kind is not TargetKind.INVOKE:
            members["error"] = error.detail  # where KServe and Triton clients look
        if invocation is not None and self.head.wants_receipt:
            members["receipt"] = receipt(invocation)
        timing = server_timing(invocation) if invocation is not None else refused_timing(self._started_ns)
        self.answer(error.status, encode_problem(members), PROBLEM_TYPE, timing, problem_headers(error))

    def answer(
        self,
        status: int,
        body: bytes | memoryview,
        content_type: str,
        timing: bytes,
        headers: list[tuple[str, str]] | None = None,
    ) -> None:
        """Write the whole answer and end the cycle."""
        connection = self._connection
        if not self._request_id:
            self._request_id = connection.gateway.new_request_id()
        head = render_head(
            status,
            connection.common_headers(),
            content_type=content_type or JSON_TYPE,
            body_bytes=len(body),
            timing=timing,
            request_id=self._request_id,
            keep_alive=self.keep_alive,
            headers=headers or (),
        )
        if self.head.is_head or not has_body(status):
            connection.send_one(head)
        elif len(body) <= _JOIN_LIMIT_BYTES:
            connection.send_one(head + body)
        else:
            connection.send(head, body)
        self.response_started = True
        self.end(status, len(body))

    def end(self, status: int, body_bytes: int) -> None:
        """The answer is written: hand the connection on."""
        self.response_complete = True
        self._connection.gateway.counters.answered(status, body_bytes)
        self._connection.cycle_done(self, monotonic_ns())

    def _on_done(self, invocation: Invocation) -> None:
        outcome = self.observe(invocation)
        if self.disconnected:
            return
        body = outcome.body
        known_type = KNOWN_TYPES.get(outcome.content_type)
        is_plain = outcome.error is None and not outcome.http_status and not outcome.headers and known_type is not None
        if is_plain and self.keep_alive and not self.head.wants_receipt and len(body) <= _JOIN_LIMIT_BYTES:
            assert known_type is not None
            connection = self._connection
            connection.send_one(
                plain_answer(connection.common_headers(), known_type, body, server_timing(invocation), self._request_id)
            )
            self.response_complete = True
            counters = connection.gateway.counters
            counters.plain_answers += 1
            counters.bytes_out += len(body)
            connection.cycle_done(self, invocation.done_ns)
            return
        if outcome.error is not None:
            self.refuse(outcome.error)  # not raised: many calls may share it, and each raise would add to its traceback
            return
        try:
            content_type = outcome.content_type
            if self.head.wants_receipt:
                body, content_type = with_receipt(body, content_type, invocation), JSON_TYPE
            headers = checked_headers(outcome.headers) if outcome.headers else None
            status = checked_status(outcome.http_status) if outcome.http_status else 200
            self.answer(status, body, checked_type(content_type), server_timing(invocation), headers)
        except PlatformError as error:
            self.refuse(error)


class OnDone(Protocol):
    """How the dispatcher tells that an invocation ended."""

    def __call__(self, invocation: Invocation, /) -> None: ...


def too_large(limit_bytes: int) -> PayloadTooLarge:
    """A body over the limit."""
    return PayloadTooLarge(
        f"the body is over the limit of {limit_bytes} bytes",
        hint="Send a reference to the data instead, or raise max_body_bytes on the platform.",
    )
