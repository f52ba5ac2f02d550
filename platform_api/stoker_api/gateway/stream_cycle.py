"""One invocation watched as server-sent events: phases while it is held, items as they come, then its end.

The head leaves with the first event, so a call that fails before gets a plain problem document. The rule that must not
break: an item is acknowledged to the worker only while the caller keeps up, so a slow reader slows the function down
and fills no memory.
"""

from __future__ import annotations

import msgspec

from stoker.errors import PlatformError
from stoker_api.gateway.answer import LAST_CHUNK, render_head
from stoker_api.gateway.cycle import InvokeCycle
from stoker_api.gateway.event_stream import CONTENT_TYPE, event
from stoker_api.gateway.ports import Route
from stoker_api.gateway.problems import encode_problem, problem
from stoker_api.gateway.receipts import as_json, receipt, refused_timing
from stoker_runtime.invocation import Invocation

_encode = msgspec.json.Encoder().encode


class StreamCycle(InvokeCycle):
    """``Accept: text/event-stream``."""

    __slots__ = ("_owed_chunks", "_sent_bytes")

    def begin(self, route: Route) -> None:
        self._owed_chunks = 0
        self._sent_bytes = 0
        self._invocation = invocation = self.new_invocation(self.body, self.head.content_type, self._on_done)
        invocation.on_phase = self._on_phase
        invocation.on_chunk = self._on_chunk
        self._connection.gateway.counters.in_flight += 1
        route.dispatcher.submit(invocation)

    def write_ready(self) -> None:
        owed, self._owed_chunks = self._owed_chunks, 0
        if owed and not self.response_complete:
            self._acknowledge(owed)

    def _on_phase(self, name: str) -> None:
        self._emit("phase", _encode({"phase": name}))

    def _on_chunk(self, item: bytes, content_type: str) -> None:
        self._emit("item", as_json(item, content_type))
        if self._connection.is_write_paused:
            self._owed_chunks += 1
        else:
            self._acknowledge(1)

    def _acknowledge(self, chunks: int) -> None:
        assert self._route is not None
        assert self._invocation is not None
        self._route.dispatcher.consumed(self._invocation, chunks)

    def _on_done(self, invocation: Invocation) -> None:
        outcome = self.observe(invocation)
        if self.disconnected:
            return
        if outcome.error is not None:
            self._fail(outcome.error)
            return
        if not outcome.streamed:
            self._emit("item", as_json(outcome.body, outcome.content_type))
        self._finish(event("end", _encode({"receipt": receipt(invocation)})), 200)

    def _fail(self, error: PlatformError) -> None:
        if not self.response_started:
            self.refuse(error)
            return
        members = problem(error, request_id=self._request_id, function=self.head.function, is_owner=self._is_owner)
        self._finish(event("error", encode_problem(members)), error.status)

    def _emit(self, name: str, data: bytes) -> None:
        if self.disconnected or self.response_complete:
            return
        self._open()
        self._write(event(name, data))

    def _finish(self, last_event: bytes, status: int) -> None:
        self._open()
        self._write(last_event)
        if not self.head.http_10:
            self._connection.send_one(LAST_CHUNK)
        self.end(status, self._sent_bytes)

    def _open(self) -> None:
        if self.response_started:
            return
        self.response_started = True
        self._connection.send_one(
            render_head(
                200,
                self._connection.common_headers(),
                content_type=CONTENT_TYPE,
                body_bytes=None,
                timing=refused_timing(self._started_ns),
                request_id=self._request_id,
                keep_alive=self.keep_alive,
                headers=(("cache-control", "no-store"), ("x-accel-buffering", "no")),
                chunked=not self.head.http_10,
            )
        )

    def _write(self, data: bytes) -> None:
        self._sent_bytes += len(data)
        self._connection.send_one(data if self.head.http_10 else b"%x\r\n%b\r\n" % (len(data), data))
