"""Replays many policies on many traces, a few at a time, each in a process of its own."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.prewarming.cross_fitted import PREFIX, cross_fitted
from stoker_pool.simulation.capacity import Capacity
from stoker_pool.simulation.pareto import Point, curve
from stoker_pool.simulation.policies import PolicySpec, parse_policy
from stoker_pool.simulation.results import Results, results_of
from stoker_pool.simulation.runs import Conditions, replay
from stoker_pool.simulation.trace import Trace
from stoker_pool.simulation.trace_files import read_trace


@dataclass(frozen=True, slots=True, order=True)
class Task:
    """One policy on one trace."""

    trace: str
    policy: str
    slots: int = 0
    host_slots: int = 0
    load_s: float = 0.0
    is_instant: bool = False
    """Calls take no time."""


class Replays:
    """Results by task; ``waste`` is filled in from the fixed keep-alive of ten minutes on the same trace."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self._folder = folder
        self._jobs = jobs
        self._found: dict[Task, Results] = {}

    def run(self, tasks: Iterable[Task]) -> None:
        """All of them, the largest traces first."""
        wanted = sorted({task for task in tasks if task not in self._found}, key=self._size, reverse=True)
        if not wanted:
            return
        with multiprocessing.get_context("fork").Pool(self._jobs, maxtasksperchild=4) as pool:
            for done, (task, result) in enumerate(pool.imap_unordered(_run, [(self._folder, task) for task in wanted])):
                self._found[task] = result
                print(f"\r{done + 1}/{len(wanted)} {task.trace} {task.policy}".ljust(78), end="", flush=True)
        print("\r".ljust(79), end="\r", flush=True)

    def result(self, task: Task) -> Results:
        """Of a task that was run."""
        return self._found[task]

    def point(self, trace: str, policy: str, *, is_instant: bool = False) -> Point:
        """Cold share, and waste as a multiple of a fixed ten minutes."""
        normal_idle_s = self._found[Task(trace, "fixed:600", is_instant=is_instant)].idle_s
        found = self._found[Task(trace, policy, is_instant=is_instant)]
        return Point(found.idle_s / normal_idle_s, found.cold_share)

    def curve(self, trace: str, policies: Sequence[str], *, is_instant: bool = False) -> tuple[Point, ...]:
        """Through all of them."""
        return curve(self.point(trace, policy, is_instant=is_instant) for policy in policies)

    def _size(self, task: Task) -> int:
        return (self._folder / f"{task.trace}.npz").stat().st_size


def _run(order: tuple[Path, Task]) -> tuple[Task, Results]:
    folder, task = order
    trace = _trace(folder / f"{task.trace}.npz", task.is_instant)
    capacity = None
    if task.slots:
        capacity = Capacity.of_slots(
            task.slots, host_slots=task.host_slots, load_s=task.load_s, host_load_s=task.load_s / 10
        )
    conditions = Conditions(load_s=task.load_s, capacity=capacity)
    return task, results_of(task.policy, replay(trace, _policy(task.policy), conditions), 0.0)


def _policy(text: str) -> PolicySpec:
    if text.startswith(PREFIX):
        return cross_fitted(float(text.removeprefix(PREFIX)))
    return parse_policy(text)


@functools.lru_cache(maxsize=1)
def _trace(path: Path, is_instant: bool) -> Trace:
    trace = read_trace(path)
    return replace(trace, durations_s=[0.0] * len(trace.durations_s)) if is_instant else trace
