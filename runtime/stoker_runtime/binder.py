"""Which replica takes the next calls, how many, and what was learned from how long they took.

The rule that must not break: an idle replica always comes before a busy one, a group that was set apart is never mixed
with other calls, and a batch is never larger than the options allow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from stoker.options import FunctionOptions
from stoker_runtime.arrival_rate import ArrivalRate
from stoker_runtime.batcher import BatchView, plan_batch
from stoker_runtime.call_state import SENT
from stoker_runtime.cost_model import CostModel
from stoker_runtime.dispatcher_stats import DispatcherStats
from stoker_runtime.frames import Verdict
from stoker_runtime.invocation import Invocation
from stoker_runtime.narrowing import FaultRate
from stoker_runtime.pipelining import calls_per_replica, prefetches_batch
from stoker_runtime.queue import CallQueue
from stoker_runtime.replica_link import ReplicaLink
from stoker_runtime.sent_frame import SentFrame

_FIRST_HOP_S: Final = 0.0001
_LONGEST_HOP_S: Final = 0.001
_SPREADS: Final = 4.0
_CALLS_PER_FRAME: Final = 16


class Step(Enum):
    """What came of one attempt to bind calls."""

    SENT = 1
    NO_ROOM = 2
    WAITS_FOR_MATES = 3


class Binder:
    """Binds waiting calls to replicas; ``wake_at`` is asked to look again later where waiting for batch mates pays."""

    def __init__(
        self,
        options: FunctionOptions,
        queue: CallQueue,
        links: Mapping[str, ReplicaLink],
        stats: DispatcherStats,
        arrivals: ArrivalRate,
        wake_at: Callable[[int], None],
    ) -> None:
        self.model = CostModel()
        """Of whole batches; without batching nothing is observed here."""
        self.faults = FaultRate(options.batch.max_batch_size if options.batch is not None else 1)
        self.duration_s = 0.0
        """Recent mean of what the worker spent on an execution."""
        self._spread_s = 0.0
        # without a journal, who shares a frame may be lost with it, finished or not: only for what may run twice
        self._may_share_frames = options.idempotent and options.retries.max_attempts > 1
        self._queue = queue
        self._links = links
        self._stats = stats
        self._arrivals = arrivals
        self._wake_at = wake_at
        self._hop_s = _FIRST_HOP_S
        self._observations = 0
        self._cost_per_call = 1.0
        batch = self._batch = options.batch
        self._sizes_by_count = batch is None or (
            batch.max_batch_cost is None and batch.latency_target_ms is None and batch.batch_timeout_ms <= 0
        )

    def bind_next(self, now_ns: int, expired: list[Invocation]) -> Step:
        """Send the next batch or calls to the best replica. Those past their deadline go to ``expired`` instead."""
        link = self._least_busy()
        room = 0 if link is None else self._room(link)
        if link is None or room <= 0:
            return Step.NO_ROOM
        queue = self._queue
        before = len(expired)
        if queue.has_apart:
            calls, are_suspects = queue.take_apart(now_ns, expired)
            if are_suspects and len(calls) > 1:
                self._send_suspects(link, calls, now_ns, expired)
                return Step.SENT
        else:
            calls = []
        if not calls and self._batch is not None:
            room = self._plan(now_ns)
            if room == 0:
                return Step.WAITS_FOR_MATES
        calls = calls or queue.take(room, now_ns, expired)
        if not calls and queue.has_parked and not link.in_flight:
            calls = queue.take_parked(now_ns, expired)  # nothing else is to be done: that may as well
        if calls:
            self._send(link, calls, now_ns)
        return Step.SENT if calls or len(expired) > before else Step.NO_ROOM

    def capacity_per_s(self) -> float:
        """Calls per second that the present replicas can serve, by what was learned; 0 = not known."""
        links = sum(1 for link in self._links.values() if link.is_accepting)
        if self._batch is not None:
            most = self._batch.max_batch_size
            duration_s = self.model.predict_s(most * self._cost_per_call)
            return links * most / duration_s if duration_s > 0 else 0.0
        slots = sum(link.concurrency for link in self._links.values() if link.is_accepting)
        return slots / self.duration_s if self.duration_s > 0 else 0.0

    def observe(self, link: ReplicaLink, frame: SentFrame, now_ns: int) -> None:
        """Learn from a frame that is fully answered."""
        wall_s = (now_ns - frame.started_ns) / 1e9
        busy_s = frame.busy_ns / 1e9
        if frame.started_ns == frame.sent_ns and link.concurrency == 1 and (frame.batched or frame.size == 1):
            self._hop_s += 0.05 * (min(max(wall_s - busy_s, 0.0), _LONGEST_HOP_S) - self._hop_s)
        weight = 0.05 if self._observations > 20 else 1.0 / (self._observations + 1)
        self._spread_s += weight * (abs(busy_s - self.duration_s) - self._spread_s)
        self.duration_s += weight * (busy_s - self.duration_s)
        self._observations += 1
        if not frame.batched:
            return
        if frame.failed is not None:
            self._observe_failed(frame, wall_s)
        else:
            self.model.observe(frame.cost, wall_s)
            self._cost_per_call += 0.1 * (frame.cost / frame.size - self._cost_per_call)
            self.faults.note_good(frame.size)

    def _observe_failed(self, frame: SentFrame, wall_s: float) -> None:
        failed = frame.failed or ()
        if frame.size > 1:
            is_narrowed = any(result.verdict != Verdict.SUSPECT for _, result, _ in failed) or len(failed) < frame.size
            self.faults.is_found_at_once = is_narrowed
        answered = frame.size - len(failed)
        if answered and failed:  # the worker narrowed it down by itself: what each of its runs took is not known
            self.faults.note_good(answered)
        else:
            self.faults.note_failed(frame.cost, wall_s)
        if frame.size == 1 or any(result.verdict == Verdict.BAD for _, result, _ in failed):
            self.faults.note_bad()

    def _least_busy(self) -> ReplicaLink | None:
        best: ReplicaLink | None = None
        least = 0
        for link in self._links.values():
            if link.is_accepting and link.is_writable:
                held = len(link.in_flight)
                if best is None or held < least:
                    best, least = link, held
                    if not held:
                        break
        return best

    def _room(self, link: ReplicaLink) -> int:
        """How many calls the least busy replica has room for now."""
        held = len(link.in_flight)
        if self._batch is not None:
            if not held or (len(link.frames) == 1 and self._prefetches(self._batch.max_batch_size)):
                return self._batch.max_batch_size
            return 0
        if link.concurrency > 1:
            room = link.concurrency - held
        else:
            # a call bound early may sit behind an unusually long one: with other replicas about, allow for that
            duration_s = self.duration_s + (_SPREADS * self._spread_s if len(self._links) > 1 else 0.0)
            room = calls_per_replica(duration_s, self._hop_s, observations=self._observations) - held
        if not held and len(self._links) > 1:  # leave some for the other idle ones
            idle = sum(1 for other in self._links.values() if other.is_accepting and not other.in_flight)
            room = min(room, -(-self._queue.depth // max(idle, 1)))
        return room

    def _prefetches(self, full_batch: int) -> bool:
        queue = self._queue
        if not queue.has_apart:
            # never for the items of a batch run: a caller that comes now would wait for two of their batches
            waiting = min(queue.ordinary, queue.callers) if queue.has_parked else queue.callers
        else:
            waiting = full_batch if queue.has_suspects_next else 0
        return prefetches_batch(
            self.model.mean_s,
            self._hop_s,
            waiting=waiting,
            full_batch=full_batch,
            observations=self.model.observations,
        )

    def _plan(self, now_ns: int) -> int:
        """Size of the next batch; 0 = wait, and look again when told."""
        assert self._batch is not None
        limit = self.faults.batch_size(self.model, self._cost_per_call)
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
        plan = plan_batch(view, self._batch, self.model)
        if plan.wait_s > 0:
            self._wake_at(now_ns + int(plan.wait_s * 1e9))
        return plan.size

    def _send_suspects(
        self, link: ReplicaLink, calls: list[Invocation], now_ns: int, expired: list[Invocation]
    ) -> None:
        """Some of them run, and the rest waits to hear what comes of it. Where the worker itself finds out at once
        who is at fault, fresh calls fill their batch up: if it passes, they cost no run of their own."""
        first = self.faults.suspects_to_run(len(calls), self.model, self._cost_per_call)
        rest, mates = calls[first:], list[Invocation]()
        if self.faults.is_found_at_once and self._sizes_by_count:
            limit = self.faults.batch_size(self.model, self._cost_per_call)
            mates = self._queue.take_mates(limit - first, calls[0], now_ns, expired)
        self._queue.park(rest)
        running = calls[:first] + mates
        _note_sent(running)
        self._stats.note_batch(len(running))
        link.send_calls(running, batched=True, now_ns=now_ns, suspects=first).rest = rest

    def _send(self, link: ReplicaLink, calls: list[Invocation], now_ns: int) -> None:
        if link.on_first_use is not None:
            _note_first_use(link, calls)
        _note_sent(calls)
        if self._batch is not None:
            self._stats.note_batch(len(calls))
            link.send_calls(calls, batched=True, now_ns=now_ns)
        elif link.concurrency > 1:
            link.send_calls(calls, batched=False, now_ns=now_ns)
        elif len(calls) == 1 or calls[0].attempt > 1:
            link.send_each(calls, now_ns=now_ns)
        elif link.journal is not None:
            link.send_calls(calls, batched=False, now_ns=now_ns)
        elif self._may_share_frames:
            for start in range(0, len(calls), _CALLS_PER_FRAME):
                link.send_calls(calls[start : start + _CALLS_PER_FRAME], batched=False, now_ns=now_ns)
        else:
            link.send_each(calls, now_ns=now_ns)


def _note_sent(calls: list[Invocation]) -> None:
    for invocation in calls:
        invocation.state = SENT
        invocation.attempt += 1


def _note_first_use(link: ReplicaLink, calls: list[Invocation]) -> None:
    on_first_use, link.on_first_use = link.on_first_use, None
    for invocation in calls:
        invocation.is_prewarmed = not invocation.is_cold  # one that waited for the start gained little by it
    if on_first_use is not None:
        on_first_use()
