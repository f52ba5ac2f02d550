"""Hands what replicas answer to the callers: results, errors, and streams under the flow control of their consumer.

The rule that must not break: a call that has ended is never touched again, whatever its replica still says about it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from stoker.errors import Canceled
from stoker.options import FunctionOptions
from stoker_runtime.call_stream import CallStream
from stoker_runtime.door import Door
from stoker_runtime.frames import ChunkHeader, ResultHeader, ResultStatus
from stoker_runtime.invocation import Invocation, Outcome, Priority
from stoker_runtime.outcomes import failed_outcome
from stoker_runtime.replica_link import ReplicaLink
from stoker_runtime.reruns import Reruns

log = logging.getLogger(__name__)

_OK: Final = int(ResultStatus.OK)
_STREAM_END: Final = int(ResultStatus.STREAM_END)
_FUNCTION_ERROR: Final = int(ResultStatus.FUNCTION_ERROR)


class Delivery:
    """The dispatcher's side of ``LinkOwner`` that concerns single calls."""

    def __init__(
        self,
        options: FunctionOptions,
        max_collected_bytes: int,
        links: Mapping[str, ReplicaLink],
        streams: dict[int, CallStream],
        door: Door,
        reruns: Reruns,
        end: Callable[[Invocation, Outcome], None],
    ) -> None:
        self._retries_errors = options.retries.on_function_error
        self._max_collected_bytes = max_collected_bytes
        self._links = links
        self._streams = streams
        self._door = door
        self._reruns = reruns
        self._end = end

    def consumed(self, invocation: Invocation, chunks: int) -> None:
        """The consumer of a streamed call took ``chunks`` more: the worker may send as many again."""
        stream = self._streams.get(id(invocation))
        link = self._links.get(invocation.replica_id)
        if stream is None or link is None:
            return
        credit = stream.consumed(chunks)
        if credit:
            link.credit(invocation, credit)

    def on_result(
        self, link: ReplicaLink, invocation: Invocation, result: ResultHeader, body: bytes | memoryview, now_ns: int
    ) -> None:
        if invocation.outcome is not None:
            return
        door = self._door
        door.answered += 1
        if door.patience.left_share > 0.001 and invocation.priority is not Priority.BATCH:
            door.patience.note_served((now_ns - invocation.accepted_ns) / 1e9)
        invocation.decode_ns = result.decode_ns
        invocation.execute_ns = result.execute_ns
        invocation.encode_ns = result.encode_ns
        status = result.status
        if status == _OK:
            if result.http_status or result.headers:
                headers = result.headers or None
                outcome = Outcome(body, result.content_type, http_status=result.http_status, headers=headers)
            else:
                outcome = Outcome(body, result.content_type)
            self._end(invocation, outcome)
        elif status == _STREAM_END:
            stream = self._streams.get(id(invocation)) or CallStream(0)
            self._end(invocation, Outcome(streamed=True) if invocation.on_chunk is not None else stream.collected())
        elif status == _FUNCTION_ERROR and self._retries_errors and self._reruns.may_run_again(invocation):
            self._reruns.after_error(invocation)
        else:
            self._end(invocation, failed_outcome(result, body))

    def on_chunk(self, link: ReplicaLink, invocation: Invocation, chunk: ChunkHeader, body: bytes | memoryview) -> None:
        if invocation.outcome is not None:
            return
        stream = self._streams.get(id(invocation))
        if stream is None:
            stream = self._streams[id(invocation)] = CallStream(self._max_collected_bytes)
        stream.received()
        if invocation.on_chunk is not None:
            try:
                invocation.on_chunk(bytes(body), chunk.content_type)
            except Exception:
                log.exception("a caller's on_chunk raised", extra={"request_id": invocation.request_id})
                link.cancel(invocation)
                self._end(invocation, Outcome(error=Canceled("the stream could not be handed on", phase="execute")))
        elif stream.collect(body, chunk.content_type):
            credit = stream.consumed(1)
            if credit:
                link.credit(invocation, credit)
        else:
            link.cancel(invocation)
            self._end(invocation, stream.too_large())
