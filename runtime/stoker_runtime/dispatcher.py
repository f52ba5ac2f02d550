"""One revision's queue and the replicas that serve it: calls are bound to a replica at the moment it can take them.

The rule that must not break: every call that is submitted ends exactly once, and no wait is without a limit. No task,
future or timer belongs to a single call: one timer serves all deadlines, and calls that arrive in one turn of the loop
share one pump.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from stoker.errors import Canceled, DeadlineExceeded, PlatformError, WorkerLost
from stoker.options import FunctionOptions
from stoker_runtime.attached_links import AttachedLinks
from stoker_runtime.binder import Binder, Step
from stoker_runtime.call_state import DELAYED, NOWHERE, QUEUED
from stoker_runtime.call_stream import CallStream
from stoker_runtime.clock import Clock, nanoseconds
from stoker_runtime.coalesce import Carrier, Coalescer
from stoker_runtime.deadlines import NEVER_NS, Deadlines
from stoker_runtime.delivery import Delivery
from stoker_runtime.demand import DemandView
from stoker_runtime.dispatcher_stats import DispatcherStats
from stoker_runtime.door import Door
from stoker_runtime.invocation import Invocation, Outcome, Priority
from stoker_runtime.isolation import Isolation
from stoker_runtime.queue import CallQueue
from stoker_runtime.receipt import cold_share_ns
from stoker_runtime.replica_link import ReplicaLink
from stoker_runtime.reruns import Reruns
from stoker_runtime.sent_frame import SentFrame
from stoker_runtime.wake_timer import Timers, WakeTimer

log = logging.getLogger(__name__)

MAX_COLLECTED_BYTES: Final = 64 * 1024 * 1024
_SIGNAL_AGAIN_NS: Final = 50_000_000


class Dispatcher:
    """Lives on the loop's thread; made by the pool, one per revision."""

    def __init__(
        self,
        options: FunctionOptions,
        revision_number: int,
        *,
        clock: Clock | None = None,
        on_demand: Callable[[], None] = lambda: None,
        cold_hold_s: float | None = None,
        max_collected_bytes: int = MAX_COLLECTED_BYTES,
        loop: Timers | None = None,
    ) -> None:
        self.options = options
        self.revision_number = revision_number
        self.on_demand = on_demand
        """Called when a call waits that no attached replica can take at once, and again as the queue grows."""
        self.on_idle: Callable[[], None] | None = None
        """Called when the last open call has ended; must be cheap and must not submit."""
        self.stats = DispatcherStats()
        self.now_ns = nanoseconds(clock)
        now_ns = self.now_ns()
        self._loop: Timers = loop or asyncio.get_running_loop()
        self._costs_bytes = options.batch is not None and options.batch.cost_fn == "bytes"
        self._queue = CallQueue(by_method=options.batch is not None)
        self._attached = AttachedLinks(self._note_links)
        self._links = self._attached.by_id
        self._streams: dict[int, CallStream] = {}
        self._coalescer = Coalescer(self._end) if options.coalesce else None
        self._timer = WakeTimer(self._loop, self.now_ns, self._on_timer)
        self._door = Door(options, self._queue, now_ns / 1e9)
        self.arrivals = self._door.log
        self._binder = Binder(options, self._queue, self._links, self.stats, self._door.arrivals, self._timer.wake_at)
        self._door.capacity_per_s = self._binder.capacity_per_s
        self._reruns = Reruns(
            options, self._queue, self._streams, self.stats, self._loop, self._end, self._schedule_pump
        )
        self._delivery = Delivery(
            options, max_collected_bytes, self._links, self._streams, self._door, self._reruns, self._end
        )
        self.on_result = self._delivery.on_result
        self.on_chunk = self._delivery.on_chunk
        self.consumed = self._delivery.consumed
        """``consumed(invocation, chunks)``: the consumer of a stream took so many; the worker may send more."""
        self._isolation = Isolation(options, self._reruns, self.on_result)
        self._deadlines = Deadlines(
            options,
            int((options.startup_timeout_s if cold_hold_s is None else cold_hold_s) * 1e9),
            self._queue,
            self._reruns,
            self._links,
            self._streams,
            end_queued=self._end_queued,
            abandon=self._abandon,
            replace=self._replace,
        )
        self._deadlines.linkless_since_ns = now_ns or 1
        self._open = 0
        self._is_pump_due = self._is_pumping = False
        self._idle_since_ns = now_ns
        self._signal_depth, self._signalled_ns = 1, 0
        self._start_phase = ""

    # --- callers ----------------------------------------------------------------------------------------------------

    def submit(self, invocation: Invocation) -> None:
        """Take a call, or end it at once with ``Overloaded``. Never blocks; ``on_done`` may be called from within."""
        invocation.revision_number = self.revision_number
        self._open += 1
        self._door.arrived += 1
        if self._coalescer is not None and invocation.on_chunk is None:
            carrier = self._share(invocation)
            if carrier is None:
                return
            invocation = carrier
        if self._door.is_full:
            self._pump()  # calls of this same turn of the loop may not have been bound yet
        deadline_ns = invocation.deadline_ns
        deadlines = self._deadlines
        if self._door.is_full or (not deadlines.linkless_since_ns and self._door.is_hopeless(deadline_ns, self.now_ns)):
            self._refuse(invocation)
            return
        invocation.cancel = partial(self._cancel, invocation)
        invocation.state = QUEUED
        if self._costs_bytes:
            invocation.cost = float(len(invocation.body))
        if deadline_ns and deadline_ns < self._timer.due_ns:
            self._timer.wake_at(deadline_ns)
        if not self._queue.depth:
            self._signal_depth = 1
        self._queue.push(invocation)
        if deadlines.linkless_since_ns:
            self._hold(invocation)
        if not self._is_pump_due:
            self._is_pump_due = True
            self._loop.call_soon(self._pump)

    # --- the pool ---------------------------------------------------------------------------------------------------

    def attach(self, link: ReplicaLink) -> None:
        """A replica is ready: give it calls."""
        link.owner = self
        self._attached.add(link)
        self._start_phase = ""
        if link.is_lost:
            self.on_lost(link, "lost before it was attached")
            return
        self._schedule_pump()

    def detach(self, link: ReplicaLink) -> None:
        """Give the replica nothing new; what it holds finishes (see ``drained``)."""
        self._attached.detach(link)

    async def drained(self, link: ReplicaLink) -> None:
        """Returns when a detached replica holds nothing any more (or is lost)."""
        await self._attached.drained(link)

    def fail_waiting(self, error: PlatformError) -> None:
        """Tell everyone who waits: the start failed, the breaker is open, the platform stops."""
        self._start_phase = ""
        for invocation in list(self._queue):
            self._end_queued(invocation, Outcome(error=error))
        for invocation in self._reruns.delayed():
            self._reruns.end_delayed(invocation, Outcome(error=error))

    def start_phase(self, name: str) -> None:
        """A phase of a cold start begins; told to those who watch."""
        self._start_phase = name
        for invocation in list(self._queue):
            if invocation.is_cold and invocation.on_phase is not None:
                invocation.on_phase(name)

    def note_cold_start(self, phases_ns: dict[str, int], ready_ns: int) -> None:
        """A start that calls may have waited for is over: each gets its share for the receipt."""
        waited = False
        for invocation in self._queue:
            if invocation.is_cold and invocation.cold_phases_ns is None and invocation.accepted_ns < ready_ns:
                invocation.cold_phases_ns = cold_share_ns(phases_ns, ready_ns, invocation.accepted_ns)
                waited = True
        self.stats.cold_starts += waited

    @property
    def queue_depth(self) -> int:
        """Calls that wait for a replica."""
        return self._queue.depth

    @property
    def in_flight(self) -> int:
        """Calls that replicas hold."""
        return self._attached.in_flight

    @property
    def oldest_wait_s(self) -> float:
        oldest_ns = self._queue.oldest_ns()
        return max(0, self.now_ns() - oldest_ns) / 1e9 if oldest_ns else 0.0

    def demand(self) -> DemandView:
        """Demand right now, for the scaler."""
        now_s = self.now_ns() / 1e9
        self._door.note(now_s)
        links = self._attached.accepting
        model = self._binder.model
        is_batched = model.observations > 0
        per_link = self.options.batch.max_batch_size if self.options.batch else self.options.concurrency
        return DemandView(
            queue_depth=self._queue.depth,
            in_flight=self.in_flight,
            links=links,
            capacity=links * per_link,
            oldest_wait_s=self.oldest_wait_s,
            arrival_rate_per_s=self._door.arrivals.per_s(now_s),
            mean_duration_s=model.mean_s if is_batched else self._binder.duration_s,
            model_a_s=model.a_s if is_batched else self._binder.duration_s,
            model_b_s=model.b_s,
            idle_since_s=None if self._open else self._idle_since_ns / 1e9,
        )

    # --- what links tell --------------------------------------------------------------------------------------------

    def on_readable(self, link: ReplicaLink) -> int:
        self._is_pump_due = True  # on_settled pumps: calls submitted meanwhile need no turn of the loop of their own
        return self.now_ns()

    def on_frame_answered(self, link: ReplicaLink, frame: SentFrame, now_ns: int) -> None:
        self._binder.observe(link, frame, now_ns)
        if frame.failed is not None or frame.rest is not None:
            self._isolation.on_frame_answered(link, frame, now_ns)

    def on_settled(self, link: ReplicaLink) -> None:
        self._pump()
        if not link.is_accepting:
            self._attached.settle(link)

    def on_lost(self, link: ReplicaLink, reason: str) -> None:
        self._is_pump_due = False  # it may come in place of on_settled
        if link.in_flight:
            self.stats.workers_lost += 1
        started, unstarted = self._isolation.take_back(link, self.now_ns())
        self._attached.forget(link)
        error = WorkerLost(f"replica {link.replica_id} was lost while the call ran: {reason}", hint=link.loss_hint)
        self._reruns.after_loss(started, unstarted, Outcome(error=error))

    # --- sending ----------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Bind waiting calls to replicas that can take them now."""
        self._is_pump_due = False
        queue = self._queue
        if not queue.depth or self._is_pumping:
            return
        self._is_pumping = True
        now_ns = self.now_ns()
        self._door.note(now_ns / 1e9)
        self._door.set_late_aside(now_ns)
        expired: list[Invocation] = []
        step = Step.SENT
        while queue.depth and step is Step.SENT:
            step = self._binder.bind_next(now_ns, expired)
        self._is_pumping = False
        self._timer.wake_at(now_ns + self._deadlines.timeout_ns)
        for invocation in expired:
            invocation.state = NOWHERE
        for invocation in expired:
            self._end(invocation, Outcome(error=DeadlineExceeded("the deadline passed in the queue")))
        if not queue.depth:
            self._signal_depth = 1
        elif step is Step.NO_ROOM and (
            queue.depth >= self._signal_depth or now_ns - self._signalled_ns > _SIGNAL_AGAIN_NS
        ):
            self._signal_depth = 2 * queue.depth
            self._signalled_ns = now_ns
            self.on_demand()

    # --- ending -----------------------------------------------------------------------------------------------------

    def _end(self, invocation: Invocation, outcome: Outcome) -> None:
        if invocation.outcome is not None:
            return
        now_ns = self.now_ns()
        invocation.cancel = None  # it refers back to the invocation
        self._open -= 1
        if not self._open:
            self._idle_since_ns = now_ns
            if self.on_idle is not None:
                self.on_idle()
        if self._streams:
            self._streams.pop(id(invocation), None)
        if self._coalescer is None or not isinstance(invocation, Carrier):
            self.stats.note_end(invocation, now_ns)
            if outcome.error is not None:
                self.stats.note_error(outcome.error.code)
        try:
            invocation.finish(outcome)
        except Exception:
            log.exception("a caller's on_done raised", extra={"request_id": invocation.request_id})

    def _end_queued(self, invocation: Invocation, outcome: Outcome) -> None:
        if invocation.outcome is None and invocation.state == QUEUED:
            self._end(invocation, outcome)
            self._queue.note_ended()

    def _refuse(self, invocation: Invocation) -> None:
        self._end(invocation, Outcome(error=self._door.refusal(self.now_ns() / 1e9)))

    def _cancel(self, invocation: Invocation) -> None:
        if invocation.outcome is not None:
            return
        if invocation.state == QUEUED:
            if invocation.priority is not Priority.BATCH:  # nobody left: a batch run was paused
                self._door.patience.note_left((self.now_ns() - invocation.accepted_ns) / 1e9)
            self._end_queued(invocation, Outcome(error=Canceled("the caller went away", phase="queue")))
        elif invocation.state == DELAYED:
            self._reruns.end_delayed(invocation, Outcome(error=Canceled("the caller went away", phase="queue")))
        else:
            self._abandon(invocation, Outcome(error=Canceled("the caller went away", phase="execute")))

    def _abandon(self, invocation: Invocation, outcome: Outcome) -> None:
        """End a call that a replica holds: its slot is free when the worker answers."""
        link = self._links.get(invocation.replica_id)
        if link is not None:
            link.cancel(invocation)
        self._end(invocation, outcome)

    def _replace(self, link: ReplicaLink, overdue: list[Invocation]) -> None:
        """Calls ran past ``timeout_s``: their replica is killed, its other calls run elsewhere or are told."""
        started, unstarted = self._isolation.take_back(link, self.now_ns())
        link.is_accepting = False
        self._attached.forget(link)
        error = DeadlineExceeded(
            f"the call ran longer than timeout_s = {self.options.timeout_s:g}; its worker was replaced",
            phase="execute",
        )
        if link.concurrency == 1 and len(overdue) > 1:
            # one of a shared frame is at fault: they are told apart by running again in smaller groups
            self._reruns.after_loss(started, unstarted, Outcome(error=error))
        else:
            for invocation in overdue:
                self._end(invocation, Outcome(error=error))
            lost = WorkerLost(f"replica {link.replica_id} was replaced: another call on it ran past timeout_s")
            self._reruns.after_loss(started, unstarted, Outcome(error=lost))
        if link.on_timeout is not None:
            link.on_timeout(link)
        else:
            link.close()

    def _on_timer(self) -> None:
        now_ns = self.now_ns()
        self._deadlines.expire(now_ns)
        if self._coalescer is not None:
            self._coalescer.expire(now_ns)
        self._pump()
        due_ns = self._deadlines.next_due_ns()
        if self._coalescer is not None:
            due_ns = min(due_ns, self._coalescer.next_deadline_ns() or NEVER_NS)
        if due_ns < NEVER_NS:
            # looking through a long queue costs time: keep it to a small share of it
            self._timer.wake_at(max(due_ns, now_ns + 1_000_000 + 5_000 * self._queue.depth))

    def _share(self, invocation: Invocation) -> Carrier | None:
        """Let a call share an execution; the execution to queue if there was none."""
        assert self._coalescer is not None
        if self._coalescer.callers >= self.options.max_queue_depth:
            self._refuse(invocation)
            return None
        carrier = self._coalescer.join(invocation)
        if invocation.deadline_ns:
            self._timer.wake_at(invocation.deadline_ns)
        if carrier is None:
            self.stats.coalesced += 1
            return None
        self._open += 1
        carrier.revision_number = self.revision_number
        return carrier

    def _schedule_pump(self) -> None:
        if not self._is_pump_due:
            self._is_pump_due = True
            self._loop.call_soon(self._pump)

    def _hold(self, invocation: Invocation) -> None:
        """No replica is there: the call waits for a start."""
        invocation.is_cold = True
        self._timer.wake_at(self._deadlines.hold_until_ns(invocation))
        if self._start_phase and invocation.on_phase is not None:
            invocation.on_phase(self._start_phase)

    def _note_links(self) -> None:
        deadlines = self._deadlines
        if self._attached.accepting:
            deadlines.linkless_since_ns = 0
        elif not deadlines.linkless_since_ns:
            deadlines.linkless_since_ns = self.now_ns() or 1
            self._signal_depth = 1
            self._timer.wake_at(deadlines.linkless_since_ns + deadlines.hold_ns)
