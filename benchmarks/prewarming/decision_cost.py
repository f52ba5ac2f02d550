"""What a decision costs: microseconds of CPU per invocation, and memory per function."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable
from typing import TypeVar

from stoker_pool.forecast.policy import Windows
from stoker_pool.simulation.engine import Engine, Replay, ReplayedPolicy
from stoker_pool.simulation.policies import parse_policy
from stoker_pool.simulation.trace import Trace

T = TypeVar("T")


class Timed:
    """Adds up what the policy takes."""

    def __init__(self, policy: ReplayedPolicy) -> None:
        self._policy = policy
        self.took_ns = 0

    def note_calls(self, function: str, at_s: float, count: int = 1) -> None:
        self._timed(lambda: self._policy.note_calls(function, at_s, count))

    def note_idle(self, function: str, at_s: float) -> None:
        self._timed(lambda: self._policy.note_idle(function, at_s))

    def windows(self, function: str, now_s: float) -> Windows:
        return self._timed(lambda: self._policy.windows(function, now_s))

    def _timed(self, act: Callable[[], T]) -> T:
        began_ns = time.thread_time_ns()
        found = act()
        self.took_ns += time.thread_time_ns() - began_ns
        return found


def microseconds(trace: Trace, policy: str = "adaptive") -> float:
    """All that the policy does in a replay."""
    timed = Timed(parse_policy(policy).make(trace))
    Engine(trace, timed, Replay()).run()
    return timed.took_ns / 1000


def kib_per_function(trace: Trace, policy: str = "adaptive") -> float:
    """Memory that a policy holds after the trace, beyond what it holds before."""
    gc.collect()
    tracemalloc.start()
    try:
        spec = parse_policy(policy)
        first = spec.make(trace)  # shared tables and modules
        before = tracemalloc.get_traced_memory()[0]
        measured = spec.make(trace)
        for at_s, owner, count in zip(trace.times_s, trace.owners, trace.counts, strict=True):
            measured.note_calls(trace.functions[owner], at_s, count)
        for function in trace.functions:
            measured.windows(function, trace.end_s)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
        del first
    finally:
        tracemalloc.stop()
    return held / 1024 / len(trace.functions)
