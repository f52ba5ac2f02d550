"""Replays a trace under a virtual clock: each event in its order, each decision by the code that decides in production.

One replica per function at most, which runs any number of calls at once; a call that finds none ready is a cold start.
Between two events nothing can change, so a call that arrives inside its function's window costs no decision: the engine
looks ahead in the trace to skip what cannot matter, and never to decide.

The rule that must not break: what is decided at an instant depends on what came before it, and on nothing else.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from stoker_pool.forecast.policy import Windows
from stoker_pool.revision_pool import NEXT_S, SOON_S
from stoker_pool.scaler import Peaks
from stoker_pool.simulation import single_replica
from stoker_pool.simulation.tally import Tally
from stoker_pool.simulation.trace import Trace

_PROGRESS_ROWS: Final = 8192
_IDLE: Final = 0
_READY: Final = 1
_CHECK: Final = 2
_LOOK: Final = 3
_ASKED_AGAIN_S: Final = 899.0
"""What a policy said holds until the next call, and is asked again where the scaler looks again after so long."""
_SKIPPED_S: Final = 600.0
"""A window covers the next call and no forecast is asked again before it: there is nothing to decide."""


class ReplayedPolicy(Protocol):
    """What the engine asks of a policy: a ``WarmthPolicy`` without what only deletion needs."""

    def note_calls(self, function: str, at_s: float, count: int = 1) -> None: ...
    def note_idle(self, function: str, at_s: float) -> None: ...
    def windows(self, function: str, now_s: float) -> Windows: ...


class Room(Protocol):
    """Where replicas go when there is not room for all."""

    def enter(self, owner: int, now_s: float, *, for_call: bool) -> list[int] | None:
        """Take room; the owners whose replicas leave for it, or None where there is none now."""
        ...

    def leave(self, owner: int, now_s: float) -> None:
        """The owner's replica is gone."""
        ...

    def set_busy(self, owner: int, is_busy: bool, now_s: float) -> None:
        """The replica got its first call in flight, or lost its last."""
        ...

    def note_calls(self, owner: int, now_s: float, count: int) -> None: ...
    def load_s(self, owner: int, now_s: float) -> float:
        """How long a start takes now: less where the weights are still in host memory."""
        ...

    def is_parked(self, owner: int) -> bool:
        """Its weights are in host memory."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """How a trace is replayed."""

    load_s: float = 0.0
    least_away_s: float = 0.0
    """A replica that is due back within so long is not let go."""
    warm_up_share: float = 0.4
    """The first part of the trace trains, and is not scored."""
    is_thrifty: bool = True
    """Unload where no window says otherwise; else only when the room is needed."""
    is_forecast: bool = True
    """The scaler asks for windows again after a while, though nothing happened."""
    skips_ahead: bool = True
    """Off: decide at every event, as the live pool does. The outcome is the same."""


@dataclass(slots=True)
class _Function:
    name: str
    is_loaded: bool = False
    """Ready, or about to be."""
    is_ready: bool = False
    is_waiting: bool = False
    """Calls wait for room."""
    by_call: bool = False
    """The present load was asked for by a call; else it is a prewarm nobody has used yet."""
    busy_until_s: float = -math.inf
    idle_from_s: float = 0.0
    is_from_host: bool = False
    """The present load found its weights in host memory."""
    version: int = 0
    """Timers of earlier versions are void."""
    held: list[tuple[float, int, float]] = field(default_factory=list)
    """Calls that wait for the start: arrival, count, duration."""
    peaks: Peaks = single_replica.NO_PEAKS
    windows: Windows | None = None
    """As last said; None: something has happened since."""
    asked_s: float = 0.0
    look_s: float = 0.0


class Engine:
    """One replay of one trace with one policy."""

    def __init__(
        self,
        trace: Trace,
        policy: ReplayedPolicy,
        replay: Replay,
        *,
        room: Room | None = None,
        on_move: Callable[[str, str, float], None] | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """``on_move(function, "start" | "ready" | "stop", at_s)`` hears what replicas do."""
        self._trace = trace
        self._policy = policy
        self._replay = replay
        self._room = room
        self._on_move = on_move
        self._on_progress = on_progress
        self._limits = single_replica.limits(is_forecast=replay.is_forecast)
        self._take_moved: Callable[[], frozenset[str]] | None = getattr(policy, "take_moved", None)
        self._owners = {name: owner for owner, name in enumerate(trace.functions)}
        self._functions = [_Function(name) for name in trace.functions]
        self._upcoming_s = [math.inf] * len(trace.functions)
        self._heap: list[tuple[float, int, int, int, int]] = []
        self._sequence = 0
        self._line: list[int] = []
        """Who waits for room, first come first."""
        self.tally = Tally(len(trace.functions), trace.start_s + replay.warm_up_share * trace.span_s, trace.end_s)

    def run(self) -> Tally:
        """Replay it from its start to its end."""
        trace, upcoming_s, heap = self._trace, self._upcoming_s, self._heap
        functions, arrive = self._functions, self._arrive
        rows = zip(trace.times_s, trace.owners, trace.counts, trace.durations_s, trace.next_times_s(), strict=True)
        for row, (at_s, owner, count, duration_s, next_s) in enumerate(rows):
            while heap and heap[0][0] <= at_s:
                self._fire()
            upcoming_s[owner] = next_s
            arrive(owner, functions[owner], at_s, count, duration_s)
            if self._on_progress is not None and not row % _PROGRESS_ROWS:
                self._on_progress(row / len(trace.times_s))
        while heap and heap[0][0] <= trace.end_s:
            self._fire()
        for owner, function in enumerate(functions):
            self._close(owner, function)
        if self._on_progress is not None:
            self._on_progress(1.0)
        return self.tally

    # --- what happens -------------------------------------------------------------------------------------------------

    def _arrive(self, owner: int, function: _Function, at_s: float, count: int, duration_s: float) -> None:
        self._policy.note_calls(function.name, at_s, count)
        function.windows = None
        if self._room is not None:
            self._room.note_calls(owner, at_s, count)
        self._serve_arrival(owner, function, at_s, count, duration_s)
        if self._take_moved is not None:
            self._check_moved(self._take_moved(), owner, at_s)

    def _serve_arrival(self, owner: int, function: _Function, at_s: float, count: int, duration_s: float) -> None:
        if function.is_ready:
            self.tally.warm(owner, at_s, count)
            if function.busy_until_s <= at_s:
                self.tally.idle(owner, function.idle_from_s, at_s)
            if not function.by_call:
                function.by_call = True
                self.tally.prewarm_used(owner, at_s)
            self._execute(owner, function, at_s, duration_s, at_s + NEXT_S)
            return
        self.tally.cold(owner, at_s, count)
        function.held.append((at_s, count, duration_s))
        if not function.is_loaded and not function.is_waiting:
            decision = single_replica.when_called(self._limits, function.peaks, at_s, self._load_s(owner, at_s))
            function.peaks = decision.peaks
            if decision.desired > 0:
                self._start(owner, function, at_s, for_call=True)

    def _execute(self, owner: int, function: _Function, at_s: float, duration_s: float, looked_s: float) -> None:
        """The pool looks at ``looked_s``, and then each second until it finds the function idle."""
        end_s = at_s + duration_s
        busy_until_s = function.busy_until_s
        if end_s > busy_until_s:
            self.tally.busy(owner, max(at_s, busy_until_s), end_s)
            function.busy_until_s = end_s
        function.version += 1
        idle_s = function.idle_from_s = function.busy_until_s
        look_s = looked_s + max(math.ceil((idle_s - looked_s) / SOON_S), 0) * SOON_S
        if self._room is None:
            # what comes before the pool looks leaves it nothing to decide
            if not (self._replay.skips_ahead and self._upcoming_s[owner] <= look_s):
                self._push(look_s, _LOOK, owner, function)
            return
        function.look_s = look_s
        self._room.set_busy(owner, True, at_s)
        if idle_s <= at_s:
            self._become_idle(owner, function, at_s)
        elif not (self._replay.skips_ahead and self._upcoming_s[owner] <= idle_s):
            self._push(idle_s, _IDLE, owner, function)

    def _fire(self) -> None:
        at_s, _, kind, owner, version = heapq.heappop(self._heap)
        function = self._functions[owner]
        if version != function.version:
            return
        if kind == _IDLE:
            self._become_idle(owner, function, at_s)
        elif kind == _LOOK:
            self._look(owner, function, at_s)
        elif kind == _READY:
            self._become_ready(owner, function, at_s)
        else:
            self._check(owner, function, at_s)

    def _become_idle(self, owner: int, function: _Function, at_s: float) -> None:
        """Its room may go to whoever waits for it."""
        assert self._room is not None
        self._room.set_busy(owner, False, at_s)
        self._serve_line(at_s)
        if function.is_loaded:
            self._push(max(function.look_s, at_s), _LOOK, owner, function)

    def _look(self, owner: int, function: _Function, at_s: float) -> None:
        """The pool looks a moment after the last call has ended."""
        self._policy.note_idle(function.name, function.busy_until_s)
        function.windows = None
        self._check(owner, function, at_s)

    def _become_ready(self, owner: int, function: _Function, at_s: float) -> None:
        function.is_ready = True
        function.idle_from_s = at_s
        self._say(function, "ready", at_s)
        held, function.held = function.held, []
        if not held:
            function.version += 1
            self._check(owner, function, at_s)
            return
        for arrived_s, count, duration_s in held:
            self.tally.waited(arrived_s, at_s - arrived_s, count)
            if function.is_from_host:
                self.tally.host_start(owner, arrived_s)
            function.busy_until_s = max(function.busy_until_s, at_s)
            self._execute(owner, function, at_s, duration_s, at_s + SOON_S)

    def _check(self, owner: int, function: _Function, at_s: float) -> None:
        """Idle, or not there: should it be there, and when is the next time to ask?"""
        windows = function.windows
        if windows is None or at_s - function.asked_s > _ASKED_AGAIN_S or (windows and windows[-1].end_s <= at_s):
            windows = function.windows = self._policy.windows(function.name, at_s)
            function.asked_s = at_s
        upcoming_s = self._upcoming_s[owner]
        if function.is_ready and windows and upcoming_s - at_s <= _SKIPPED_S and self._replay.skips_ahead:
            first = windows[0]
            if first.start_s <= at_s and upcoming_s < first.end_s:
                return  # it stays loaded until its next call
        decision = single_replica.when_idle(
            self._limits,
            function.peaks,
            windows,
            at_s,
            at_s - function.idle_from_s if function.is_ready else math.inf,
            self._load_s(owner, at_s),
            ready=int(function.is_ready),
            starting=int(function.is_loaded and not function.is_ready),
            least_away_s=self._replay.least_away_s,
        )
        function.peaks = decision.peaks
        if function.is_ready and decision.desired < 1 and self._replay.is_thrifty:
            self._stop(owner, function, at_s)
        elif decision.desired and not function.is_loaded and self._start(owner, function, at_s, for_call=False):
            return  # asked again when it is ready
        if decision.look_again_s is None:
            return
        look_again_s = at_s + decision.look_again_s
        if self._replay.skips_ahead:
            look_again_s = max(look_again_s, self._nothing_until_s(owner, function, windows, at_s))
        if look_again_s <= (min(upcoming_s, self._trace.end_s) if self._replay.skips_ahead else self._trace.end_s):
            self._push(look_again_s, _CHECK, owner, function)

    def _check_moved(self, moved: frozenset[str], caller: int, at_s: float) -> None:
        """A call of one function has changed when others should be there."""
        for name in moved:
            owner = self._owners.get(name, caller)
            function = self._functions[owner]
            if owner != caller and function.busy_until_s <= at_s and function.is_ready == function.is_loaded:
                function.version += 1
                function.windows = None
                self._check(owner, function, at_s)

    def _nothing_until_s(self, owner: int, function: _Function, windows: Windows, at_s: float) -> float:
        """Windows hold until the next call, so the pool's looks in between find nothing new."""
        coming = next((window for window in windows if window.end_s > at_s), None)
        if coming is None:
            return at_s if function.is_loaded else math.inf
        if function.is_loaded:
            return at_s
        return coming.start_s - 2 * self._load_s(owner, at_s) - _SKIPPED_S

    # --- what is done -------------------------------------------------------------------------------------------------

    def _start(self, owner: int, function: _Function, at_s: float, *, for_call: bool) -> bool:
        load_s = self._load_s(owner, at_s)
        if self._room is not None:
            is_from_host = self._room.is_parked(owner)
            leaving = self._room.enter(owner, at_s, for_call=for_call)
            if leaving is None:
                if for_call and not function.is_waiting:
                    function.is_waiting = True
                    self._line.append(owner)
                return False
            for other in leaving:
                self._unload(other, self._functions[other], at_s)
            function.is_from_host = is_from_host
        function.is_loaded, function.is_waiting = True, False
        function.by_call = for_call
        function.version += 1
        self.tally.load(owner, at_s, load_s, is_prewarm=not for_call)
        self._say(function, "start", at_s)
        if load_s <= 0:
            self._become_ready(owner, function, at_s)
        else:
            self._push(at_s + load_s, _READY, owner, function)
        return True

    def _stop(self, owner: int, function: _Function, at_s: float) -> None:
        self._unload(owner, function, at_s)
        if self._room is not None:
            self._room.leave(owner, at_s)
            self._serve_line(at_s)

    def _unload(self, owner: int, function: _Function, at_s: float) -> None:
        self.tally.idle(owner, function.idle_from_s, at_s)
        if not function.by_call:
            self.tally.prewarm_wasted(owner, at_s)
        function.is_loaded = function.is_ready = False
        function.version += 1
        self._say(function, "stop", at_s)

    def _serve_line(self, at_s: float) -> bool:
        """Room may have appeared: whoever waits longest takes it."""
        served = False
        while self._line:
            owner = self._line[0]
            if not self._start(owner, self._functions[owner], at_s, for_call=True):
                break
            self._line.pop(0)
            served = True
        return served

    # --- small steps --------------------------------------------------------------------------------------------------

    def _load_s(self, owner: int, at_s: float) -> float:
        return self._replay.load_s if self._room is None else self._room.load_s(owner, at_s)

    def _push(self, at_s: float, kind: int, owner: int, function: _Function) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (at_s, self._sequence, kind, owner, function.version))

    def _say(self, function: _Function, what: str, at_s: float) -> None:
        if self._on_move is not None:
            self._on_move(function.name, what, at_s)

    def _close(self, owner: int, function: _Function) -> None:
        """The trace has ended."""
        if function.is_ready:
            if function.busy_until_s < self._trace.end_s:
                self.tally.idle(owner, function.idle_from_s, self._trace.end_s)
            if not function.by_call:
                self.tally.prewarm_wasted(owner, self._trace.end_s)
        for arrived_s, count, _ in function.held:
            self.tally.waited(arrived_s, max(self._trace.end_s - arrived_s, 0.0), count)
            if function.is_from_host and function.is_loaded:
                self.tally.host_start(owner, arrived_s)
