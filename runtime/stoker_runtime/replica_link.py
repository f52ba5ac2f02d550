"""The platform's end of one worker's socket: writes calls, reads results, knows what is in flight.

The rule that must not break: every call that was sent is handed back to the owner exactly once, as a result or by
``take_in_flight`` when the worker is lost; whatever a worker sends, this process lives on.

A worker of concurrency 1 runs its calls in order. Of one with a journal, the first call that is neither answered nor in
the journal may be running, since it was sent or the last result arrived; of one without, any call of the first frame.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

import msgspec

from stoker_runtime.frame_buffer import BrokenFrame, Frame, FrameBuffer
from stoker_runtime.frames import (
    LENGTH_FIELD_BYTES,
    PREFIX,
    CallHeader,
    CallsHeader,
    CancelHeader,
    ChunkHeader,
    CreditHeader,
    FrameKind,
    ResultHeader,
    ResultsHeader,
    pack,
)
from stoker_runtime.held_results import Held, HeldResults
from stoker_runtime.invocation import Invocation
from stoker_runtime.journal import Journal
from stoker_runtime.sent_frame import SentFrame

log = logging.getLogger(__name__)

_JOIN_BYTES: Final = 64 * 1024
"""Frames up to this size are joined into one write; larger bodies are never copied."""
_WRITE_HIGH_BYTES: Final = 4 * 1024 * 1024

_RESULTS: Final = int(FrameKind.RESULTS)
_CALLS: Final = int(FrameKind.CALLS)
_CHUNK: Final = int(FrameKind.CHUNK)


class LinkOwner(Protocol):
    """Who is told what a link reads: the dispatcher."""

    def on_readable(self, link: ReplicaLink) -> int:
        """Results are about to be told, and ``on_settled`` will follow; the time now."""
        ...

    def on_result(
        self, link: ReplicaLink, invocation: Invocation, result: ResultHeader, body: bytes | memoryview, now_ns: int
    ) -> None: ...

    def on_chunk(
        self, link: ReplicaLink, invocation: Invocation, chunk: ChunkHeader, body: bytes | memoryview
    ) -> None: ...

    def on_frame_answered(self, link: ReplicaLink, frame: SentFrame, now_ns: int) -> None: ...

    def on_settled(self, link: ReplicaLink) -> None:
        """All that was readable has been told; the link may have room now."""
        ...

    def on_lost(self, link: ReplicaLink, reason: str) -> None: ...


class ReplicaLink(asyncio.BufferedProtocol):
    """One replica, as the dispatcher sees it. Made with ``await ReplicaLink.open(...)``; lives on the loop's thread."""

    def __init__(
        self,
        replica_id: str,
        *,
        concurrency: int = 1,
        on_lost: Callable[[ReplicaLink, str], None] | None = None,
        on_timeout: Callable[[ReplicaLink], None] | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.replica_id = replica_id
        self.concurrency = concurrency
        self.journal = journal
        """Where the worker keeps what it has finished and not sent; closed with the link."""
        self._held = HeldResults(journal, self._on_held) if journal is not None else None
        self.on_lost = on_lost
        """Called once with the reason when the socket closes, after the owner has taken the calls back."""
        self.on_timeout = on_timeout
        """Called when a call ran past ``timeout_s``: the replica is to be killed. It takes nothing new from then on."""
        self.on_closed: Callable[[ReplicaLink], None] | None = None
        """Called when the worker closed the socket, by someone who will call ``lose`` once the reason is known.
        Without it the calls are given back at once."""
        self.on_first_use: Callable[[], None] | None = None
        """Set where it was started before any call wanted it: called once, and its first calls are told so."""
        self.interrupt: Callable[[], None] | None = None
        """Has the worker look at once for a CANCEL frame, in the midst of user code."""
        self.owner: LinkOwner | None = None
        self.is_accepting = True
        self.is_lost = False
        self.loss_hint: str | None = None
        """What whoever lost their call may do about it, where that is known."""
        self.is_writable = True
        self.in_flight: dict[int, Invocation] = {}
        self.frames: deque[SentFrame] = deque()
        self.last_result_ns = 0
        self.last_used_ns = 0
        self._next_id = 1
        self._transport: asyncio.Transport | None = None
        self._buffer = FrameBuffer()
        self.get_buffer = self._buffer.get_buffer  # type: ignore[method-assign]
        self._decode_results = msgspec.msgpack.Decoder(ResultsHeader).decode
        self._decode_chunk = msgspec.msgpack.Decoder(ChunkHeader).decode
        self._encode = msgspec.msgpack.Encoder().encode

    @classmethod
    async def open(
        cls,
        sock: socket.socket,
        replica_id: str,
        *,
        concurrency: int = 1,
        on_lost: Callable[[ReplicaLink, str], None] | None = None,
        on_timeout: Callable[[ReplicaLink], None] | None = None,
        journal: Journal | None = None,
    ) -> ReplicaLink:
        """Take over the platform's end of a loaded worker's socket."""
        link = cls(replica_id, concurrency=concurrency, on_lost=on_lost, on_timeout=on_timeout, journal=journal)
        await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=sock)
        return link

    # --- what the dispatcher asks -----------------------------------------------------------------------------------

    def running_since_ns(self) -> int:
        """Since when the head of ``frames`` may be running on a worker of concurrency 1."""
        return max(self.frames[0].sent_ns, self.last_result_ns) if self.frames else 0

    def calls_of(self, frame: SentFrame) -> list[Invocation]:
        """The calls of a frame that are not answered yet."""
        found = (self.in_flight.get(call_id) for call_id in range(frame.first_id, frame.last_id + 1))
        return [invocation for invocation in found if invocation is not None]

    def may_be_running(self) -> list[Invocation]:
        """The calls that may run now."""
        if self.concurrency > 1:
            return list(self.in_flight.values())
        if not self.frames:
            return []
        calls = self.calls_of(self.frames[0])
        return calls if self.journal is None or self.frames[0].batched else calls[:1]

    def take_in_flight(self, now_ns: int) -> tuple[list[Invocation], list[Invocation]]:
        """Everything unanswered, as (may have started, not started); the link forgets it."""
        started: list[Invocation] = []
        if self.journal is not None:
            if self.owner is not None:
                self._answer_held(self.owner, self.journal.results(), now_ns)
            # results that were sent and not read are of calls that ran: so it is what began that counts
            last_id = self.journal.started_id()
            started = [call for call_id, call in self.in_flight.items() if call_id <= last_id]
        elif self.concurrency == 1 and self.frames:
            started = self.calls_of(self.frames[0])
        elif self.concurrency > 1:
            started = list(self.in_flight.values())
        begun = {id(invocation) for invocation in started}
        waiting = [invocation for invocation in self.in_flight.values() if id(invocation) not in begun]
        self.in_flight.clear()
        self.frames.clear()
        return started, waiting

    def send_calls(self, calls: Sequence[Invocation], *, batched: bool, now_ns: int, suspects: int = 0) -> SentFrame:
        """One frame with all of ``calls``: a batch, or calls to run at once. The first so many may be ``suspects``."""
        first_id, size = self._next_id, len(calls)
        headers = [self._header(call, call_id, now_ns) for call_id, call in enumerate(calls, first_id)]
        cost = 0.0
        for call in calls:
            self.in_flight[call.call_id] = call
            cost += call.cost
            if batched:
                call.batch_size = size
        self._next_id += size
        self.last_used_ns = now_ns
        sent = SentFrame(first_id, size, batched, cost, now_ns)
        sent.suspects_below = first_id + suspects
        self.frames.append(sent)
        if self._held is not None and not batched and size > 1:
            self._held.watch()
        header = CallsHeader(batched, headers, sent.suspects_below)
        self._write(pack(FrameKind.CALLS, header, *[call.body for call in calls]))
        return sent

    def send_each(self, calls: Sequence[Invocation], *, now_ns: int) -> None:
        """A frame for each call, in one write: the worker runs them in order, and only the head may be running."""
        buffers: list[bytes | memoryview] = []
        call_id, encode, frames, in_flight = self._next_id, self._encode, self.frames, self.in_flight
        for call in calls:
            header = encode(CallsHeader(False, [self._header(call, call_id, now_ns)]))
            body = call.body
            frames.append(SentFrame(call_id, 1, False, call.cost, now_ns))
            in_flight[call_id] = call
            call_id += 1
            length = PREFIX.size - LENGTH_FIELD_BYTES + len(header) + len(body)
            buffers += (PREFIX.pack(length, _CALLS, len(header)), header, body)
        self._next_id = call_id
        self.last_used_ns = now_ns
        if self._held is not None and len(in_flight) > 1:
            self._held.watch()
        self._write(buffers)

    def cancel(self, invocation: Invocation) -> None:
        """Tell the worker that nobody waits for this call; its slot is free when it answers."""
        if self.in_flight.get(invocation.call_id) is invocation:
            self._write(pack(FrameKind.CANCEL, CancelHeader([invocation.call_id])))
            if invocation.interrupts and self.interrupt is not None:
                self.interrupt()

    def credit(self, invocation: Invocation, chunks: int) -> None:
        """Let the worker send ``chunks`` more chunks of this call."""
        if self.in_flight.get(invocation.call_id) is invocation:
            self._write(pack(FrameKind.CREDIT, CreditHeader(invocation.call_id, chunks)))

    def stop(self) -> None:
        """Ask the worker to run its exit hooks and leave."""
        self.is_accepting = False
        self._write(pack(FrameKind.STOP, None))

    def close(self) -> None:
        """Drop the connection; the owner gets back what is in flight."""
        if self._transport is not None:
            self._transport.abort()

    def lose(self, reason: str, hint: str | None = None) -> None:
        """Give the replica up: it is about to be killed, and ``reason`` is what its callers are told."""
        self.loss_hint = hint
        self._lose(reason)

    # --- asyncio.BufferedProtocol -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)

    def buffer_updated(self, nbytes: int) -> None:
        owner = self.owner
        try:
            frames = self._buffer.buffer_updated(nbytes)
            if owner is None or not frames:
                return
            now_ns = owner.on_readable(self)
            for frame in frames:
                kind = frame.kind
                if kind == _RESULTS:
                    self._on_results(owner, frame, now_ns)
                elif kind == _CHUNK:
                    self._on_chunk(owner, frame)
        except (BrokenFrame, msgspec.MsgspecError, ValueError) as error:
            self._lose(f"the worker broke the protocol: {error}")
            return
        owner.on_settled(self)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.is_accepting = False
        if self.on_closed is not None and not self.is_lost:
            self.on_closed(self)
        else:
            self._lose(f"the worker's socket closed: {error}" if error else "the worker's socket closed")

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True
        if self.owner is not None:
            self.owner.on_settled(self)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _header(self, call: Invocation, call_id: int, now_ns: int) -> CallHeader:
        call.call_id = call_id
        call.sent_ns = now_ns
        call.replica_id = self.replica_id
        deadline_ns = call.deadline_ns
        return CallHeader(
            call_id,
            call.content_type,
            len(call.body),
            call.method,
            call.request_id,
            max(1, (deadline_ns - now_ns) // 1_000_000) if deadline_ns else 0,
            call.accept,
            call.encoding,
        )

    def _write(self, buffers: list[bytes | memoryview]) -> None:
        transport = self._transport
        if transport is None or self.is_lost:
            return
        if len(buffers) == 1:
            transport.write(buffers[0])
        elif sum(map(len, buffers)) <= _JOIN_BYTES:
            transport.write(b"".join(buffers))
        else:
            transport.writelines(buffers)

    def _on_results(self, owner: LinkOwner, frame: Frame, now_ns: int) -> None:
        results = self._decode_results(frame.header).results
        body_bytes = len(frame.body)
        body: bytes | memoryview
        body = frame.body.toreadonly() if body_bytes > _JOIN_BYTES else bytes(frame.body)  # one copy serves all
        take, offset = self.in_flight.pop, 0
        for result in results:
            end = offset + result.body_bytes
            if not offset <= end <= body_bytes:
                raise BrokenFrame(f"result {result.call_id} of {result.body_bytes} bytes passes the frame's end")
            part = body[offset:end]
            offset = end
            invocation = take(result.call_id, None)
            if invocation is not None:
                self._answer(owner, invocation, result, part, now_ns)

    def _answer(
        self, owner: LinkOwner, invocation: Invocation, result: ResultHeader, body: bytes | memoryview, now_ns: int
    ) -> None:
        frames = self.frames
        sent = frames[0]
        if not sent.first_id <= result.call_id <= sent.last_id:
            sent = next(frame for frame in frames if frame.first_id <= result.call_id <= frame.last_id)
        if not sent.started_ns:
            sent.started_ns = sent.sent_ns if self.concurrency > 1 else max(sent.sent_ns, self.last_result_ns)
        invocation.started_ns = sent.started_ns
        self.last_result_ns = now_ns
        sent.open -= 1
        spent_ns = result.decode_ns + result.execute_ns + result.encode_ns
        if spent_ns > sent.busy_ns:
            sent.busy_ns = spent_ns
        if sent.open == 0:
            if sent is frames[0]:
                frames.popleft()
            else:
                frames.remove(sent)
        if result.batch_failed and sent.failed is None:
            sent.failed = []
        if sent.failed is not None and sent.size > 1 and result.batch_failed:
            sent.failed.append((invocation, result, body))
        else:
            owner.on_result(self, invocation, result, body, now_ns)
        if sent.open == 0:
            owner.on_frame_answered(self, sent, now_ns)

    def _on_held(self, held: Held) -> None:
        owner = self.owner
        if owner is not None and not self.is_lost:
            self._answer_held(owner, held, owner.on_readable(self))
            owner.on_settled(self)

    def _answer_held(self, owner: LinkOwner, held: Held, now_ns: int) -> None:
        for result, body in held:
            invocation = self.in_flight.pop(result.call_id, None) if result.body_bytes == len(body) else None
            if invocation is not None:
                self._answer(owner, invocation, result, body, now_ns)

    def _on_chunk(self, owner: LinkOwner, frame: Frame) -> None:
        chunk = self._decode_chunk(frame.header)
        invocation = self.in_flight.get(chunk.call_id)
        if invocation is None:
            return
        is_large = len(frame.body) > _JOIN_BYTES
        owner.on_chunk(self, invocation, chunk, frame.body.toreadonly() if is_large else bytes(frame.body))

    def _lose(self, reason: str) -> None:
        if self.is_lost:
            return
        self.is_lost = True
        self.is_accepting = False
        if self._transport is not None:
            self._transport.abort()
        if self.owner is not None:
            self.owner.on_lost(self, reason)
        if self._held is not None:
            self._held.close()
        if self.on_lost is not None:
            self.on_lost(self, reason)
