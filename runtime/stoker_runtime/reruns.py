"""Calls that run again: after a lost worker, after a batch failed as a whole, after user code raised.

The rule that must not break: what may have started runs again only where the options say that this is safe and
attempts are left; what certainly did not start always runs elsewhere, and that costs it no attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from stoker.options import FunctionOptions
from stoker_runtime.call_state import DELAYED, QUEUED
from stoker_runtime.call_stream import CallStream
from stoker_runtime.dispatcher_stats import DispatcherStats
from stoker_runtime.invocation import Invocation, Outcome
from stoker_runtime.narrowing import may_mix, regroup_after_loss
from stoker_runtime.queue import CallQueue
from stoker_runtime.wake_timer import TimerHandle, Timers


class Reruns:
    """Puts calls back into the queue, before all others, at once or after the delay that the retries ask for."""

    def __init__(
        self,
        options: FunctionOptions,
        queue: CallQueue,
        streams: dict[int, CallStream],
        stats: DispatcherStats,
        timers: Timers,
        end: Callable[[Invocation, Outcome], None],
        wake: Callable[[], None],
    ) -> None:
        self._options = options
        self._queue = queue
        self._streams = streams
        self._stats = stats
        self._timers = timers
        self._end = end
        self._wake = wake
        self._delayed: dict[int, tuple[Invocation, TimerHandle]] = {}

    def may_run_again(self, invocation: Invocation) -> bool:
        """Whether attempts are left, and nothing of the answer has been handed out yet."""
        if invocation.attempt >= self._options.retries.max_attempts:
            return False
        return invocation.on_chunk is None or id(invocation) not in self._streams

    def after_error(self, invocation: Invocation) -> None:
        """User code raised, and the retries say to try again; by itself, if it would fail its mates again."""
        self._put_back([[invocation]], is_apart=invocation.suspicions > 0)

    def narrow_down(self, calls: list[Invocation], suspects_below: int, *, are_suspects: bool) -> None:
        """A run of ``calls`` failed as a whole: they run again by themselves, which is no further attempt. Those with
        ids below were suspects already, and come first."""
        is_first = any(invocation.call_id < suspects_below for invocation in calls)
        self._note_failed_batch(calls, suspects_below)
        self._queue.push_apart([calls], are_suspects=are_suspects, is_first=is_first)
        self._wake()

    def clear(self, rest: list[Invocation]) -> None:
        """Suspects about whom nothing is known any more: ordinary calls again, the first of them."""
        self._mix(self._queue.release(rest))

    def put_back(self, calls: list[Invocation], suspects_below: int) -> None:
        """Calls of a failed batch about whom nothing is known: ordinary ones, which is no further attempt."""
        self._note_failed_batch(calls, suspects_below)
        self._mix(calls)

    def accuse(self, rest: list[Invocation]) -> None:
        """Suspects of whom the others were found to be good."""
        waiting = self._queue.release(rest)
        if waiting:
            self._queue.push_apart([waiting], are_suspects=len(waiting) == len(rest))
            self._wake()

    def after_loss(self, started: list[Invocation], unstarted: list[Invocation], outcome: Outcome) -> None:
        """Calls of a lost replica. Those that may have started and must not run twice end with ``outcome``."""
        waiting = [invocation for invocation in unstarted if invocation.outcome is None]
        for invocation in waiting:
            invocation.attempt -= 1
            invocation.state = QUEUED
        self._queue.push_front(waiting)
        rerun: list[Invocation] = []
        for invocation in started:
            if invocation.outcome is not None:
                continue
            if self._options.idempotent and self.may_run_again(invocation):
                rerun.append(invocation)
            else:
                self._end(invocation, outcome)
        rerun = [invocation for invocation in rerun if invocation.outcome is None]
        if self._options.batch is not None and len(rerun) > 1:
            left = self._options.retries.max_attempts - max(invocation.attempt for invocation in rerun)
            self._put_back(regroup_after_loss(rerun, left), is_apart=True)
        else:
            self._put_back([[invocation] for invocation in rerun], is_apart=True)
        self._wake()

    def delayed(self) -> Iterator[Invocation]:
        """Calls whose delay has not passed."""
        return iter([invocation for invocation, _ in self._delayed.values()])

    def end_delayed(self, invocation: Invocation, outcome: Outcome) -> None:
        """A call ends while it is delayed."""
        entry = self._delayed.pop(id(invocation), None)
        if entry is not None:
            entry[1].cancel()
            self._end(invocation, outcome)

    def _mix(self, calls: list[Invocation]) -> None:
        if all(may_mix(invocation.suspicions) for invocation in calls):
            self._queue.push_front(calls)
        else:
            self._queue.push_apart([calls], is_first=False)
        self._wake()

    def _note_failed_batch(self, calls: list[Invocation], suspects_below: int) -> None:
        for invocation in calls:
            invocation.attempt -= 1
            invocation.suspicions += invocation.call_id >= suspects_below
        self._note_rerun(calls)

    def _note_rerun(self, calls: list[Invocation]) -> None:
        self._stats.retried += len(calls)
        for invocation in calls:
            self._streams.pop(id(invocation), None)
            invocation.state = QUEUED

    def _put_back(self, groups: list[list[Invocation]], *, is_apart: bool) -> None:
        ready: list[list[Invocation]] = []
        for group in groups:
            delay_s = self._delay_s(group[0])
            if delay_s <= 0:
                ready.append(group)
            self._note_rerun(group)
            if delay_s > 0:
                for invocation in group:
                    self._delay(invocation, delay_s)
        if is_apart:
            self._queue.push_apart(ready)
        else:
            self._queue.push_front([invocation for group in ready for invocation in group])
        self._wake()

    def _delay_s(self, invocation: Invocation) -> float:
        retries = self._options.retries
        if retries.initial_delay_s <= 0:
            return 0.0
        steps = min(max(invocation.attempt - 1, 0), 64)
        return float(min(retries.initial_delay_s * retries.backoff**steps, retries.max_delay_s))

    def _delay(self, invocation: Invocation, delay_s: float) -> None:
        invocation.state = DELAYED
        timer = self._timers.call_later(delay_s, partial(self._after_delay, invocation))
        self._delayed[id(invocation)] = (invocation, timer)

    def _after_delay(self, invocation: Invocation) -> None:
        self._delayed.pop(id(invocation), None)
        invocation.state = QUEUED
        self._queue.push_apart([[invocation]])
        self._wake()
