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
from typing import Final, Protocol

from stoker.errors import Canceled, DeadlineExceeded, NotReady, Overloaded, PlatformError, WorkerLost
from stoker.options import FunctionOptions
from stoker_runtime.arrival_rate import ArrivalRate
from stoker_runtime.batcher import BatchView, plan_batch
from stoker_runtime.bisection import FaultRate, best_batch_size, halves, regroup_after_loss
from stoker_runtime.call_stream import CallStream
from stoker_runtime.clock import Clock, SystemClock, monotonic_ns
from stoker_runtime.coalesce import Carrier, Coalescer
from stoker_runtime.cost_model import CostModel
from stoker_runtime.demand import DemandView
from stoker_runtime.dispatcher_stats import DispatcherStats
from stoker_runtime.frames import ChunkHeader, ResultHeader, ResultStatus
from stoker_runtime.invocation import Invocation, Outcome
from stoker_runtime.outcomes import failed_outcome
from stoker_runtime.pipelining import calls_per_replica, prefetches_batch
from stoker_runtime.queue import CallQueue
from stoker_runtime.receipt import cold_share_ns
from stoker_runtime.replica_link import ReplicaLink, SentFrame

log = logging.getLogger(__name__)

MAX_COLLECTED_BYTES: Final = 64 * 1024 * 1024
_NEVER_NS: Final = 1 << 62
_FIRST_HOP_S: Final = 0.0001
_SIGNAL_AGAIN_NS: Final = 50_000_000
_CANCEL_GRACE_NS: Final = 5_000_000_000
_QUEUED: Final = 1
_SENT: Final = 2
_DELAYED: Final = 3
_OK: Final = int(ResultStatus.OK)
_STREAM_END: Final = int(ResultStatus.STREAM_END)
_FUNCTION_ERROR: Final = int(ResultStatus.FUNCTION_ERROR)


class Timers(Protocol):
    """What the dispatcher needs of an event loop."""

    def call_soon(self, callback: Callable[[], None]) -> asyncio.Handle: ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle: ...

    def create_future(self) -> asyncio.Future[None]: ...


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
        self.stats = DispatcherStats()
        self.model = CostModel()
        self.faults = FaultRate()
        clock = clock or SystemClock()
        self.now_ns: Callable[[], int] = (
            monotonic_ns if isinstance(clock, SystemClock) else lambda: int(clock.monotonic_s() * 1e9)
        )
        self._loop: Timers = loop or asyncio.get_running_loop()
        self._max_collected_bytes = max_collected_bytes
        self._batch = options.batch
        self._sizes_by_count = options.batch is None or (
            options.batch.max_batch_cost is None
            and options.batch.latency_target_ms is None
            and options.batch.batch_timeout_ms <= 0
        )
        self._costs_bytes = options.batch is not None and options.batch.cost_fn == "bytes"
        self._queue = CallQueue(by_method=options.batch is not None)
        self._coalescer = Coalescer(self._end) if options.coalesce else None
        self._links: dict[str, ReplicaLink] = {}
        self._drains: dict[str, list[asyncio.Future[None]]] = {}
        self._streams: dict[int, CallStream] = {}
        self._delayed: dict[int, tuple[Invocation, asyncio.TimerHandle]] = {}
        self._open = 0
        self._arrived = 0
        self._ended = 0
        self._is_pump_due = False
        self._is_pumping = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = _NEVER_NS
        self._timeout_ns = int(options.timeout_s * 1e9)
        self._hold_ns = int((options.startup_timeout_s if cold_hold_s is None else cold_hold_s) * 1e9)
        now_ns = self.now_ns()
        self._linkless_since_ns = now_ns
        self._idle_since_ns = now_ns
        self._signal_depth = 1
        self._signalled_ns = 0
        self._start_phase = ""
        self._arrivals = ArrivalRate(now_ns / 1e9)
        self._departures = ArrivalRate(now_ns / 1e9)
        self._duration_s = 0.0
        self._hop_s = _FIRST_HOP_S
        self._observations = 0

    # --- callers ----------------------------------------------------------------------------------------------------

    def submit(self, invocation: Invocation) -> None:
        """Take a call, or end it at once with ``Overloaded``. Never blocks; ``on_done`` may be called from within."""
        invocation.revision_number = self.revision_number
        self._open += 1
        self._arrived += 1
        if self._coalescer is not None and invocation.on_chunk is None:
            if self._coalescer.callers >= self.options.max_queue_depth:
                self._refuse(invocation)
                return
            carrier = self._coalescer.join(invocation)
            if invocation.deadline_ns:
                self._wake_at(invocation.deadline_ns)
            if carrier is None:
                self.stats.coalesced += 1
                return
            self._open += 1
            carrier.revision_number = self.revision_number
            invocation = carrier
        queue = self._queue
        if queue.depth >= self.options.max_queue_depth:
            self._pump()
            if queue.depth >= self.options.max_queue_depth:
                self._refuse(invocation)
                return
        invocation.cancel = partial(self._cancel, invocation)
        invocation.state = _QUEUED
        if self._costs_bytes:
            invocation.cost = float(len(invocation.body))
        if invocation.deadline_ns and invocation.deadline_ns < self._timer_ns:
            self._wake_at(invocation.deadline_ns)
        queue.push(invocation)
        if self._linkless_since_ns:
            self._hold(invocation)
        if not self._is_pump_due:
            self._is_pump_due = True
            self._loop.call_soon(self._pump)

    def consumed(self, invocation: Invocation, chunks: int) -> None:
        """The consumer of a streamed call took ``chunks`` more: the worker may send as many again."""
        stream = self._streams.get(id(invocation))
        link = self._links.get(invocation.replica_id)
        if stream is None or link is None:
            return
        credit = stream.consumed(chunks)
        if credit:
            link.credit(invocation, credit)

    # --- the pool ---------------------------------------------------------------------------------------------------

    def attach(self, link: ReplicaLink) -> None:
        """A replica is ready: give it calls."""
        link.owner = self
        self._links[link.replica_id] = link
        self._note_links()
        self._start_phase = ""
        if link.is_lost:
            self.on_lost(link, "lost before it was attached")
            return
        self._schedule_pump()

    def detach(self, link: ReplicaLink) -> None:
        """Give the replica nothing new; what it holds finishes (see ``drained``)."""
        link.is_accepting = False
        self._note_links()
        self._settle_drain(link)

    async def drained(self, link: ReplicaLink) -> None:
        """Returns when a detached replica holds nothing any more (or is lost)."""
        if link.is_lost or not link.in_flight or link.replica_id not in self._links:
            return
        waiter = self._loop.create_future()
        self._drains.setdefault(link.replica_id, []).append(waiter)
        await waiter

    def fail_waiting(self, error: PlatformError) -> None:
        """Tell everyone who waits: the start failed, the breaker is open, the platform stops."""
        self._start_phase = ""
        for invocation in list(self._queue):
            self._end_queued(invocation, Outcome(error=error))
        for invocation, timer in list(self._delayed.values()):
            timer.cancel()
            self._end(invocation, Outcome(error=error))
        self._delayed.clear()

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
        return sum(len(link.in_flight) for link in self._links.values())

    @property
    def oldest_wait_s(self) -> float:
        oldest_ns = self._queue.oldest_ns()
        return max(0, self.now_ns() - oldest_ns) / 1e9 if oldest_ns else 0.0

    def demand(self) -> DemandView:
        """Demand right now, for the scaler."""
        now_s = self.now_ns() / 1e9
        self._note_rates(now_s)
        links = sum(link.is_accepting for link in self._links.values())
        is_batched = self._batch is not None and self.model.observations > 0
        return DemandView(
            queue_depth=self._queue.depth,
            in_flight=self.in_flight,
            links=links,
            capacity=links * (self._batch.max_batch_size if self._batch else self.options.concurrency),
            oldest_wait_s=self.oldest_wait_s,
            arrival_rate_per_s=self._arrivals.per_s(now_s),
            mean_duration_s=self.model.mean_s if is_batched else self._duration_s,
            model_a_s=self.model.a_s if is_batched else self._duration_s,
            model_b_s=self.model.b_s,
            idle_since_s=None if self._open else self._idle_since_ns / 1e9,
        )

    # --- what links tell --------------------------------------------------------------------------------------------

    def on_result(
        self, link: ReplicaLink, invocation: Invocation, result: ResultHeader, body: bytes | memoryview, now_ns: int
    ) -> None:
        if invocation.outcome is not None:
            return
        invocation.decode_ns = result.decode_ns
        invocation.execute_ns = result.execute_ns
        invocation.encode_ns = result.encode_ns
        status = result.status
        if status == _OK:
            self._end(
                invocation,
                Outcome(body, result.content_type, http_status=result.http_status, headers=result.headers or None),
            )
        elif status == _STREAM_END:
            stream = self._streams.get(id(invocation)) or CallStream(0)
            self._end(invocation, Outcome(streamed=True) if invocation.on_chunk is not None else stream.collected())
        elif status == _FUNCTION_ERROR and self.options.retries.on_function_error and self._may_run_again(invocation):
            self._run_again([[invocation]], by_itself=False)
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
            invocation.on_chunk(bytes(body), chunk.content_type)
        elif stream.collect(body, chunk.content_type):
            credit = stream.consumed(1)
            if credit:
                link.credit(invocation, credit)
        else:
            link.cancel(invocation)
            self._end(invocation, stream.too_large())

    def on_frame_answered(self, link: ReplicaLink, frame: SentFrame, now_ns: int) -> None:
        duration_s = (now_ns - frame.started_ns) / 1e9
        busy_s = frame.busy_ns / 1e9
        if frame.started_ns == frame.sent_ns and link.concurrency == 1:
            self._hop_s += 0.05 * (min(max(duration_s - busy_s, 0.0), 0.001) - self._hop_s)
        keep = 0.95 if self._observations > 20 else 0.5
        self._duration_s = self._duration_s * keep + (1 - keep) * busy_s if self._observations else busy_s
        self._observations += 1
        if frame.batched:
            if frame.failed is None:
                self.model.observe(frame.cost, duration_s)
                self.faults.note_good(frame.size)
            else:
                self._on_batch_failed(frame, duration_s)

    def on_settled(self, link: ReplicaLink) -> None:
        if self._queue.depth:
            self._pump()
        if not link.is_accepting:
            self._settle_drain(link)

    def on_lost(self, link: ReplicaLink, reason: str) -> None:
        if link.in_flight:
            self.stats.workers_lost += 1
        started, waiting = link.take_in_flight()
        self._forget(link)
        lost = Outcome(error=WorkerLost(f"replica {link.replica_id} was lost while the call ran: {reason}"))
        self._give_back(started, waiting, lost)

    # --- sending ----------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Bind waiting calls to replicas that can take them now."""
        self._is_pump_due = False
        queue = self._queue
        if not queue.depth or self._is_pumping:
            return
        self._is_pumping = True
        now_ns = self.now_ns()
        self._note_rates(now_ns / 1e9)
        expired: list[Invocation] = []
        waits = False
        while queue.depth and not waits:
            chosen = self._choose(now_ns)
            if chosen is None:
                break
            waits = not self._send_next(*chosen, now_ns, expired)
        self._is_pumping = False
        for invocation in expired:
            self._end(invocation, Outcome(error=DeadlineExceeded("the deadline passed in the queue")))
        if not queue.depth:
            self._signal_depth = 1
        elif not waits and (queue.depth >= self._signal_depth or now_ns - self._signalled_ns > _SIGNAL_AGAIN_NS):
            self._signal_depth = 2 * queue.depth
            self._signalled_ns = now_ns
            self.on_demand()

    def _choose(self, now_ns: int) -> tuple[ReplicaLink, int] | None:
        """The replica for the next calls, and how many it has room for. An idle one always comes first."""
        best: ReplicaLink | None = None
        idle = 0
        for link in self._links.values():
            if not link.is_accepting or not link.is_writable:
                continue
            if not link.in_flight:
                idle += 1
            if best is None or len(link.in_flight) < len(best.in_flight):
                best = link
        if best is None:
            return None
        if self._batch is not None:
            if idle or (len(best.frames) == 1 and self._prefetches()):
                return best, self._batch.max_batch_size
            return None
        if best.concurrency > 1:
            room = best.concurrency - len(best.in_flight)
        else:
            most = calls_per_replica(self._duration_s, self._hop_s, observations=self._observations)
            room = most - len(best.in_flight)
        if room <= 0:
            return None
        return best, min(room, -(-self._queue.depth // idle)) if idle > 1 else room

    def _prefetches(self) -> bool:
        assert self._batch is not None
        return not self._queue.has_apart and prefetches_batch(
            self.model.mean_s,
            self._hop_s,
            waiting=self._queue.depth,
            full_batch=self._batch.max_batch_size,
            observations=self.model.observations,
        )

    def _send_next(self, link: ReplicaLink, room: int, now_ns: int, expired: list[Invocation]) -> bool:
        """Send the next batch, or up to ``room`` calls; False if waiting for mates pays more."""
        calls = self._queue.take_apart(now_ns, expired) if self._queue.has_apart else []
        if not calls:
            size = room
            if self._batch is not None:
                size = self._plan(now_ns)
                if size == 0:
                    return False
            calls = self._queue.take(size, now_ns, expired)
        if not calls:
            return True
        for invocation in calls:
            invocation.state = _SENT
            invocation.attempt += 1
        if self._batch is not None:
            self.stats.note_batch(len(calls))
            link.send_calls(calls, batched=True, now_ns=now_ns)
        elif link.concurrency > 1:
            link.send_calls(calls, batched=False, now_ns=now_ns)
        else:
            link.send_each(calls, now_ns=now_ns)
        if now_ns + self._timeout_ns < self._timer_ns:
            self._wake_at(now_ns + self._timeout_ns)
        return True

    def _plan(self, now_ns: int) -> int:
        """Size of the next batch; 0 = wait (the timer is set)."""
        assert self._batch is not None
        limit = best_batch_size(self._batch.max_batch_size, self.faults, self.model)
        if self._sizes_by_count:
            return limit
        front = self._queue.peek(self._batch.max_batch_size, now_ns)
        if not front:
            return limit  # only expired ones: taking sorts them out
        view = BatchView(
            costs=[invocation.cost for invocation in front],
            oldest_wait_s=(now_ns - min(invocation.accepted_ns for invocation in front)) / 1e9,
            arrival_rate_per_s=self._arrivals.per_s(now_ns / 1e9),
            size_limit=limit,
        )
        plan = plan_batch(view, self._batch, self.model, now_ns / 1e9)
        if plan.wait_s > 0:
            self._wake_at(now_ns + int(plan.wait_s * 1e9))
        return plan.size

    def _on_batch_failed(self, frame: SentFrame, duration_s: float) -> None:
        """An execution failed as a whole: narrow it down, or tell everyone."""
        failed = frame.failed or []
        if frame.size == 1:
            self.faults.note_bad()
            return
        self.faults.note_failed_execution(duration_s, self.model.predict_s(frame.cost))
        calls = [invocation for invocation, _, _ in failed if invocation.outcome is None]
        if self._batch is not None and self._batch.isolate_errors and calls:
            for invocation in calls:
                invocation.attempt -= 1
            self._run_again(halves(calls) if len(calls) > 1 else [calls], by_itself=True)
            return
        for invocation, result, body in failed:
            if invocation.outcome is None:
                self._end(invocation, failed_outcome(result, body))

    # --- running again ----------------------------------------------------------------------------------------------

    def _may_run_again(self, invocation: Invocation) -> bool:
        if invocation.attempt >= self.options.retries.max_attempts:
            return False
        return invocation.on_chunk is None or id(invocation) not in self._streams

    def _give_back(self, started: list[Invocation], waiting: list[Invocation], outcome: Outcome) -> None:
        """Calls of a lost replica: those not started run elsewhere, those that may have started if that is safe."""
        unstarted = [invocation for invocation in waiting if invocation.outcome is None]
        for invocation in unstarted:
            invocation.attempt -= 1
            invocation.state = _QUEUED
        self._queue.push_front(unstarted)
        rerun: list[Invocation] = []
        for invocation in started:
            if invocation.outcome is None:
                if self.options.idempotent and self._may_run_again(invocation):
                    rerun.append(invocation)
                else:
                    self._end(invocation, outcome)
        if rerun:
            attempts_left = self.options.retries.max_attempts - max(invocation.attempt for invocation in rerun)
            together = self._batch is not None and len(rerun) > 1
            self._run_again(
                regroup_after_loss(rerun, attempts_left) if together else [[invocation] for invocation in rerun],
                by_itself=True,
            )
        self._schedule_pump()

    def _run_again(self, groups: list[list[Invocation]], *, by_itself: bool) -> None:
        """Queue calls again before all others, each group by itself; after a delay if the retries ask for one."""
        now: list[list[Invocation]] = []
        for group in groups:
            delay_s = self._retry_delay_s(group[0])
            if delay_s <= 0:
                now.append(group)
            for invocation in group:
                self.stats.retried += 1
                self._streams.pop(id(invocation), None)
                if delay_s > 0:
                    invocation.state = _DELAYED
                    timer = self._loop.call_later(delay_s, partial(self._after_delay, invocation))
                    self._delayed[id(invocation)] = (invocation, timer)
                else:
                    invocation.state = _QUEUED
        if by_itself:
            self._queue.push_apart(now)
        else:
            self._queue.push_front([invocation for group in now for invocation in group])
        self._schedule_pump()

    def _retry_delay_s(self, invocation: Invocation) -> float:
        retries = self.options.retries
        if retries.initial_delay_s <= 0 or invocation.attempt < 1:
            return 0.0
        return min(retries.initial_delay_s * retries.backoff ** min(invocation.attempt - 1, 64), retries.max_delay_s)

    def _after_delay(self, invocation: Invocation) -> None:
        self._delayed.pop(id(invocation), None)
        invocation.state = _QUEUED
        self._queue.push_apart([[invocation]])
        self._schedule_pump()

    # --- ending -----------------------------------------------------------------------------------------------------

    def _end(self, invocation: Invocation, outcome: Outcome) -> None:
        if invocation.outcome is not None:
            return
        now_ns = self.now_ns()
        invocation.cancel = None  # it refers back to the invocation
        self._open -= 1
        if not self._open:
            self._idle_since_ns = now_ns
        if self._streams:
            self._streams.pop(id(invocation), None)
        if self._coalescer is None or not isinstance(invocation, Carrier):
            self._ended += 1
            self.stats.note_end(invocation, now_ns)
            if outcome.error is not None:
                self.stats.note_error(outcome.error.code)
        try:
            invocation.finish(outcome)
        except Exception:
            log.exception("a caller's on_done raised", extra={"request_id": invocation.request_id})

    def _end_queued(self, invocation: Invocation, outcome: Outcome) -> None:
        self._end(invocation, outcome)
        self._queue.note_ended()

    def _refuse(self, invocation: Invocation) -> None:
        depth = self._queue.depth
        rate = self._departures.per_s(self.now_ns() / 1e9)
        error = Overloaded(
            f"the queue of {self.options.name} is full: {depth} calls wait",
            hint="Retry after the time given, or raise max_queue_depth or scaling.max_replicas.",
            retry_after_s=min(60.0, max(0.05, depth / rate)) if rate > 0 else 1.0,
        )
        self._end(invocation, Outcome(error=error))

    def _cancel(self, invocation: Invocation) -> None:
        if invocation.outcome is not None:
            return
        if invocation.state == _QUEUED:
            self._end_queued(invocation, Outcome(error=Canceled("the caller went away", phase="queue")))
        elif invocation.state == _DELAYED:
            _, timer = self._delayed.pop(id(invocation))
            timer.cancel()
            self._end(invocation, Outcome(error=Canceled("the caller went away", phase="queue")))
        else:
            self._abandon(invocation, Outcome(error=Canceled("the caller went away", phase="execute")))

    def _abandon(self, invocation: Invocation, outcome: Outcome) -> None:
        """End a call that a replica holds: its slot is free when the worker answers."""
        link = self._links.get(invocation.replica_id)
        if link is not None:
            link.cancel(invocation)
        self._end(invocation, outcome)

    # --- time -------------------------------------------------------------------------------------------------------

    def _wake_at(self, due_ns: int) -> None:
        """Make sure that the one timer goes off by ``due_ns``."""
        if due_ns >= self._timer_ns:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ns = due_ns
        self._timer = self._loop.call_later(max(0, due_ns - self.now_ns()) / 1e9, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_ns = _NEVER_NS
        now_ns = self.now_ns()
        self._expire_waiting(now_ns)
        for link in list(self._links.values()):
            self._expire_running(link, now_ns)
        if self._coalescer is not None:
            self._coalescer.expire(now_ns)
        due_ns = self._next_due_ns(now_ns)
        if due_ns < _NEVER_NS:
            # looking at a long queue costs time: bound it to a small share
            self._wake_at(max(due_ns, now_ns + 1_000_000 + 5_000 * self._queue.depth))
        self._pump()

    def _expire_waiting(self, now_ns: int) -> None:
        held_since_ns = self._linkless_since_ns
        for invocation in [*self._queue, *(invocation for invocation, _ in self._delayed.values())]:
            if 0 < invocation.deadline_ns <= now_ns:
                outcome = Outcome(error=DeadlineExceeded("the deadline passed in the queue"))
            elif held_since_ns and now_ns - max(invocation.accepted_ns, held_since_ns) >= self._hold_ns:
                held_s = self._hold_ns / 1e9
                outcome = Outcome(
                    error=NotReady(
                        f"no replica of {self.options.name} became ready within {held_s:g} s",
                        hint="The start goes on; retry after the time given.",
                        retry_after_s=min(30.0, max(1.0, held_s)),
                    )
                )
            else:
                continue
            if invocation.state == _QUEUED:
                self._end_queued(invocation, outcome)
            elif id(invocation) in self._delayed:
                self._delayed.pop(id(invocation))[1].cancel()
                self._end(invocation, outcome)

    def _expire_running(self, link: ReplicaLink, now_ns: int) -> None:
        for invocation in list(link.in_flight.values()):
            if 0 < invocation.deadline_ns <= now_ns and invocation.outcome is None:
                error = DeadlineExceeded("the caller's deadline passed while the call ran", phase="execute")
                self._abandon(invocation, Outcome(error=error))
        overdue = [call for call in self._oldest_running(link) if self._limit_ns(link, call) <= now_ns]
        if not overdue:
            return
        stalled = [call for call in overdue if self._is_stalled(call)]
        for invocation in stalled:
            error = DeadlineExceeded("the stream was not read within timeout_s", phase="execute")
            self._abandon(invocation, Outcome(error=error))
        if len(stalled) < len(overdue):
            self._replace(link, overdue)

    def _replace(self, link: ReplicaLink, overdue: list[Invocation]) -> None:
        """A call ran past ``timeout_s``: its replica is killed, its mates run elsewhere or are told."""
        started, waiting = link.take_in_flight()
        link.is_accepting = False
        self._forget(link)
        too_long = Outcome(
            error=DeadlineExceeded(
                f"the call ran longer than timeout_s = {self.options.timeout_s:g}; its worker was replaced",
                phase="execute",
            )
        )
        shared = self._batch is not None and len(overdue) > 1 and self.options.idempotent
        late = {id(invocation) for invocation in overdue}
        if not shared:
            for invocation in overdue:
                self._end(invocation, too_long)
        mates = [invocation for invocation in started if shared or id(invocation) not in late]
        lost = Outcome(error=WorkerLost(f"replica {link.replica_id} was replaced: another call ran past timeout_s"))
        self._give_back(mates, waiting, too_long if shared else lost)
        if link.on_timeout is not None:
            link.on_timeout(link)
        else:
            link.close()

    def _oldest_running(self, link: ReplicaLink) -> list[Invocation]:
        if link.concurrency > 1:
            return list(link.in_flight.values())
        frame, _ = link.running()
        return [] if frame is None else link.calls_of(frame)

    def _limit_ns(self, link: ReplicaLink, invocation: Invocation) -> int:
        """When a running call has used up its ``timeout_s`` (a cancelled stream that stalled gets some grace)."""
        since_ns = invocation.sent_ns if link.concurrency > 1 else link.running()[1]
        grace_ns = _CANCEL_GRACE_NS if invocation.outcome is not None and invocation.on_chunk is not None else 0
        return since_ns + self._timeout_ns + grace_ns

    def _is_stalled(self, invocation: Invocation) -> bool:
        stream = self._streams.get(id(invocation))
        return stream is not None and stream.waits_for_consumer

    def _next_due_ns(self, now_ns: int) -> int:
        due_ns = _NEVER_NS
        for invocation in self._queue:
            if invocation.deadline_ns:
                due_ns = min(due_ns, invocation.deadline_ns)
            if self._linkless_since_ns:
                due_ns = min(due_ns, max(invocation.accepted_ns, self._linkless_since_ns) + self._hold_ns)
        for invocation, _ in self._delayed.values():
            if invocation.deadline_ns:
                due_ns = min(due_ns, invocation.deadline_ns)
        for link in self._links.values():
            for invocation in link.in_flight.values():
                if invocation.deadline_ns and invocation.outcome is None:
                    due_ns = min(due_ns, invocation.deadline_ns)
            for invocation in self._oldest_running(link):
                due_ns = min(due_ns, self._limit_ns(link, invocation))
        if self._coalescer is not None:
            due_ns = min(due_ns, self._coalescer.next_deadline_ns() or _NEVER_NS)
        return due_ns

    # --- small steps ------------------------------------------------------------------------------------------------

    def _schedule_pump(self) -> None:
        if not self._is_pump_due:
            self._is_pump_due = True
            self._loop.call_soon(self._pump)

    def _hold(self, invocation: Invocation) -> None:
        """No replica is there: the call waits for a start."""
        invocation.is_cold = True
        self._wake_at(max(invocation.accepted_ns, self._linkless_since_ns) + self._hold_ns)
        if self._start_phase and invocation.on_phase is not None:
            invocation.on_phase(self._start_phase)

    def _note_links(self) -> None:
        if any(link.is_accepting for link in self._links.values()):
            self._linkless_since_ns = 0
        elif not self._linkless_since_ns:
            self._linkless_since_ns = self.now_ns() or 1
            if self._queue.depth:
                self._wake_at(self._linkless_since_ns + self._hold_ns)

    def _note_rates(self, now_s: float) -> None:
        self._arrivals.note(self._arrived, now_s)
        self._departures.note(self._ended, now_s)
        self._arrived = self._ended = 0

    def _settle_drain(self, link: ReplicaLink) -> None:
        if not link.in_flight:
            self._forget(link)

    def _forget(self, link: ReplicaLink) -> None:
        if self._links.get(link.replica_id) is link:
            del self._links[link.replica_id]
        for waiter in self._drains.pop(link.replica_id, ()):
            if not waiter.done():
                waiter.set_result(None)
        self._note_links()
