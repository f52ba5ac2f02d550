"""What is overdue: waiting calls past their deadline or the cold hold, running ones past deadline or ``timeout_s``.

The rule that must not break: a caller's own deadline never costs the replica its life (other calls may be on it); only
``timeout_s``, the function's word on how long a run may take, does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from stoker.errors import DeadlineExceeded, NotReady
from stoker.options import FunctionOptions
from stoker_runtime.call_state import QUEUED
from stoker_runtime.call_stream import CallStream
from stoker_runtime.invocation import Invocation, Outcome
from stoker_runtime.queue import CallQueue
from stoker_runtime.replica_link import ReplicaLink
from stoker_runtime.reruns import Reruns

NEVER_NS: Final = 1 << 62
_CANCEL_GRACE_NS: Final = 5_000_000_000
"""For a worker whose stalled stream was cancelled to notice, before it is replaced after all."""

End = Callable[[Invocation, Outcome], None]


class Deadlines:
    """Ends what is overdue, when asked. ``replace`` is told of replicas that hold a call past ``timeout_s``."""

    def __init__(
        self,
        options: FunctionOptions,
        hold_ns: int,
        queue: CallQueue,
        reruns: Reruns,
        links: Mapping[str, ReplicaLink],
        streams: Mapping[int, CallStream],
        *,
        end_queued: End,
        abandon: End,
        replace: Callable[[ReplicaLink, list[Invocation]], None],
    ) -> None:
        self._name = options.name
        self.timeout_ns = int(options.timeout_s * 1e9)
        self.hold_ns = hold_ns
        self.linkless_since_ns = 0
        """Since when no replica takes calls; 0 = one does."""
        self._queue = queue
        self._reruns = reruns
        self._links = links
        self._streams = streams
        self._end_queued = end_queued
        self._abandon = abandon
        self._replace = replace

    def hold_until_ns(self, invocation: Invocation) -> int:
        """How long a call is held for a replica to start."""
        return max(invocation.accepted_ns, self.linkless_since_ns) + self.hold_ns

    def expire(self, now_ns: int) -> None:
        """End everything that is overdue at ``now_ns``."""
        for invocation in list(self._queue):
            outcome = self._overdue(invocation, now_ns)
            if outcome is not None and invocation.state == QUEUED:
                self._end_queued(invocation, outcome)
        for invocation in self._reruns.delayed():
            outcome = self._overdue(invocation, now_ns)
            if outcome is not None:
                self._reruns.end_delayed(invocation, outcome)
        for link in list(self._links.values()):
            self._expire_running(link, now_ns)

    def next_due_ns(self) -> int:
        """The earliest instant at which something will be overdue."""
        due_ns = NEVER_NS
        for invocation in self._queue:
            if invocation.deadline_ns:
                due_ns = min(due_ns, invocation.deadline_ns)
            if self.linkless_since_ns:
                due_ns = min(due_ns, self.hold_until_ns(invocation))
        for invocation in self._reruns.delayed():
            if invocation.deadline_ns:
                due_ns = min(due_ns, invocation.deadline_ns)
        for link in self._links.values():
            for invocation in link.in_flight.values():
                if invocation.deadline_ns and invocation.outcome is None:
                    due_ns = min(due_ns, invocation.deadline_ns)
            for invocation in link.may_be_running():
                due_ns = min(due_ns, self._limit_ns(link, invocation))
        return due_ns

    def _overdue(self, invocation: Invocation, now_ns: int) -> Outcome | None:
        if 0 < invocation.deadline_ns <= now_ns:
            return Outcome(error=DeadlineExceeded("the deadline passed in the queue"))
        if self.linkless_since_ns and now_ns >= self.hold_until_ns(invocation):
            held_s = self.hold_ns / 1e9
            return Outcome(
                error=NotReady(
                    f"no replica of {self._name} became ready within {held_s:g} s",
                    hint="The start goes on; retry after the time given.",
                    retry_after_s=min(30.0, max(1.0, held_s)),
                )
            )
        return None

    def _expire_running(self, link: ReplicaLink, now_ns: int) -> None:
        for invocation in list(link.in_flight.values()):
            if 0 < invocation.deadline_ns <= now_ns and invocation.outcome is None:
                error = DeadlineExceeded("the caller's deadline passed while the call ran", phase="execute")
                self._abandon(invocation, Outcome(error=error))
        overdue = [call for call in link.may_be_running() if self._limit_ns(link, call) <= now_ns]
        stalled = [call for call in overdue if self._is_stalled(call)]
        for invocation in stalled:
            error = DeadlineExceeded("the stream was not read to its end within timeout_s", phase="execute")
            self._abandon(invocation, Outcome(error=error))
        if len(stalled) < len(overdue):
            self._replace(link, overdue)

    def _limit_ns(self, link: ReplicaLink, invocation: Invocation) -> int:
        since_ns = invocation.sent_ns if link.concurrency > 1 else link.running_since_ns()
        has_grace = invocation.outcome is not None and invocation.on_chunk is not None
        return since_ns + self.timeout_ns + (_CANCEL_GRACE_NS if has_grace else 0)

    def _is_stalled(self, invocation: Invocation) -> bool:
        stream = self._streams.get(id(invocation))
        return stream is not None and stream.waits_for_consumer
