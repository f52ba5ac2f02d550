"""One invocation on its way through the platform: what the gateway makes, the dispatcher queues, and a replica answers.

The rule that must not break: an invocation ends exactly once, and ``on_done`` is called exactly once, on the loop's
thread, whatever happens to workers, clients or clocks.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import ClassVar

from stoker.errors import PlatformError
from stoker_runtime.clock import monotonic_ns


class Priority(IntEnum):
    """Lower runs first."""

    INTERACTIVE = 0
    BACKGROUND = 1
    BATCH = 2
    """Runs when nothing else waits, and never fills up the batch of another call."""


class Outcome:
    """How an invocation ended: a result, or an error of the tree (never both)."""

    __slots__ = ("body", "content_type", "error", "headers", "http_status", "streamed")

    def __init__(
        self,
        body: bytes | memoryview = b"",
        content_type: str = "",
        *,
        http_status: int = 0,
        headers: list[tuple[str, str]] | None = None,
        error: PlatformError | None = None,
        streamed: bool = False,
    ) -> None:
        self.body = body
        self.content_type = content_type  # "" = application/json
        self.http_status = http_status  # 0 = 200
        self.headers = headers
        self.error = error
        self.streamed = streamed  # chunks came before; body is empty


class Invocation:
    """One call. Written by the gateway, then by the dispatcher only. Times are ``monotonic_ns`` stamps."""

    __slots__ = (
        "accept",
        "accepted_ns",
        "attempt",
        "batch_size",
        "body",
        "call_id",
        "cancel",
        "cold_phases_ns",
        "content_type",
        "cost",
        "deadline_ns",
        "decode_ns",
        "done_ns",
        "encode_ns",
        "encoding",
        "execute_ns",
        "is_cold",
        "is_prewarmed",
        "method",
        "on_chunk",
        "on_done",
        "on_phase",
        "outcome",
        "priority",
        "replica_id",
        "request_id",
        "revision_number",
        "sent_ns",
        "started_ns",
        "state",
        "suspicions",
    )

    interrupts: ClassVar[bool] = False
    """Canceling it stops user code where it is; else that runs to its end, and its answer is dropped."""

    def __init__(
        self,
        body: bytes,
        content_type: str,
        on_done: Callable[[Invocation], None],
        *,
        request_id: str = "",
        method: str = "",
        accept: str = "",
        encoding: int = 0,
        priority: Priority = Priority.INTERACTIVE,
        deadline_ns: int = 0,
        accepted_ns: int = 0,
    ) -> None:
        self.body = body
        self.content_type = content_type
        self.on_done = on_done
        self.on_chunk: Callable[[bytes, str], None] | None = None
        """Called with (item, content type) for each streamed item; None: the caller wants one JSON array at the end."""
        self.on_phase: Callable[[str], None] | None = None
        """Called with the name of each cold-start phase while the call is held."""
        self.cancel: Callable[[], None] | None = None
        """Set by the dispatcher on submit; the gateway calls it when the client goes away. Safe to call twice."""
        self.request_id = request_id
        self.method = method
        self.accept = accept
        self.encoding = encoding
        self.priority = priority
        self.deadline_ns = deadline_ns  # 0 = none but the function's own
        self.accepted_ns = accepted_ns or monotonic_ns()
        self.sent_ns = 0  # when its frame was written to the replica
        self.started_ns = 0
        self.done_ns = 0
        self.decode_ns = 0
        self.execute_ns = 0
        self.encode_ns = 0
        self.is_cold = False
        self.is_prewarmed = False  # the first on a replica that was started before any call wanted it
        self.cold_phases_ns: dict[str, int] | None = None
        """place, zygote, fork, verify, unpickle, enter, warmup: the part of the start this call waited for."""
        self.batch_size = 1
        self.replica_id = ""
        self.revision_number = 0
        self.call_id = 0
        self.cost = 1.0
        self.attempt = 0
        self.suspicions = 0  # ordinary batches that failed as a whole, through this call or a mate
        self.state = 0
        self.outcome: Outcome | None = None

    def finish(self, outcome: Outcome) -> bool:
        """End it, once; False if it had ended before."""
        if self.outcome is not None:
            return False
        self.outcome = outcome
        self.done_ns = monotonic_ns()
        on_done = self.on_done
        self.on_done = _told  # it refers back to whoever holds this: the pair would wait for the garbage collector
        on_done(self)
        return True


def _told(invocation: Invocation) -> None:
    """Stands for ``on_done`` once it was called."""
