"""The simulator and the live pool start and stop the same replicas at the same instants on the same recorded events.

The live side is the real ``Pool`` with its dispatcher under virtual time over a backend in memory; the simulated side
is the engine on the same trace. Each has a policy of its own, of the same kind.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from tests.support.fake_backend import FakeBackend, FakeBackendReplica
from tests.support.fake_forecast import FakeForecast
from tests.support.manual_timers import ManualTimers
from tests.support.pool_rig import Bundles, fake_pool, submit

from stoker_pool.backend import ReplicaOrder
from stoker_pool.forecast.adaptive import AdaptivePolicy
from stoker_pool.forecast.policy import Window, Windows
from stoker_pool.forecast.ports import Forecast
from stoker_pool.plan import RevisionPlan
from stoker_pool.pool import Pool
from stoker_pool.simulation.engine import Engine, Replay
from stoker_pool.simulation.trace import Row, Trace, trace_of

Move = tuple[str, str, float]
LOAD_S = 4.0
TOLERANCE_S = 0.1
"""Turns of the loop, and times told as floats."""
UNIX_S = 1_767_225_600.0 + 1000.0
"""What the virtual clock says when a test begins: 2026 in UTC, and 1000 s that have passed."""


class Returning(FakeForecast):
    """Stays a while after the last call, lets go, and is back for the usual gap."""

    def windows(self, function: str, now_s: float) -> Windows:
        noted = self.calls.get(function, []), self.idle.get(function, [])
        last_s = max([at_s for at_s, _ in noted[0]] + noted[1], default=None)
        if last_s is None:
            return ()
        spans = (Window(last_s, last_s + 40.0), Window(last_s + 280.0, last_s + 330.0))
        return tuple(window for window in spans if window.end_s > now_s)


class Adaptive(AdaptivePolicy):
    """The production policy at a price at which the traces here are worth a prewarm."""

    def __init__(self) -> None:
        super().__init__(lambda function: 900.0)


class TimedBackend(FakeBackend):
    """A start takes ``LOAD_S`` of virtual time."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: ManualTimers | None = None
        self.moves: list[Move] = []

    def note(self, plan: RevisionPlan, what: str) -> None:
        assert self.timers is not None
        at_s = self.timers.clock.now().timestamp()
        self.moves.append((f"{plan.namespace}/{plan.name}", what, at_s))

    async def start(self, order: ReplicaOrder, on_phase: Callable[[str], None]) -> FakeBackendReplica:
        assert self.timers is not None
        self.note(order.plan, "start")
        ready = asyncio.get_running_loop().create_future()
        self.timers.call_later(LOAD_S, lambda: ready.set_result(None))
        await ready
        replica = await super().start(order, on_phase)
        replica.phases_ns = {"place": 0, "enter": int(LOAD_S * 1e9)}
        self.note(order.plan, "ready")
        stop = replica.stop

        async def noted_stop(grace_s: float) -> None:
            self.note(order.plan, "stop")
            await stop(grace_s)

        replica.stop = noted_stop  # type: ignore[method-assign]
        return replica


async def live_moves(trace: Trace, forecast: Forecast, bundles: Bundles, least_away_s: float = 0.0) -> list[Move]:
    backend = TimedBackend()
    async with fake_pool(backend, forecast=forecast, least_away_s=least_away_s) as (pool, timers):
        backend.timers = timers
        plans = {function: plan_of(bundles, function) for function in trace.functions}
        for plan in plans.values():
            pool.dispatcher(plan)
        for at_s, owner, count, duration_s in zip(
            trace.times_s, trace.owners, trace.counts, trace.durations_s, strict=True
        ):
            await timers.advance(at_s - timers.clock.now().timestamp())
            await call_for(pool, plans[trace.functions[owner]], count, duration_s, backend, timers)
        await timers.advance(trace.end_s - timers.clock.now().timestamp())
        return list(backend.moves)


async def call_for(
    pool: Pool, plan: RevisionPlan, count: int, duration_s: float, backend: TimedBackend, timers: ManualTimers
) -> None:
    """Calls that are answered ``duration_s`` after they could begin."""
    is_there = any(replica.order.plan is plan for replica in backend.alive())
    calls = [submit(pool, plan) for _ in range(count)]
    await timers.settle()

    def answer() -> None:
        for replica in backend.alive(plan.name):
            replica.fake.answer_all()

    timers.call_later(duration_s + (0.0 if is_there else LOAD_S + 0.001), answer)
    assert len(calls) == count


def plan_of(bundles: Bundles, function: str) -> RevisionPlan:
    name = function.partition("/")[2]
    scaling = {"keep_alive_s": "adaptive", "max_replicas": 1}
    return bundles.plan(f"async def {name}(x):\n    return x\n", name, concurrency=1000, scaling=scaling)


def simulated_moves(trace: Trace, forecast: Forecast, least_away_s: float = 0.0) -> list[Move]:
    moves: list[Move] = []
    replay = Replay(load_s=LOAD_S, warm_up_share=0.0, least_away_s=least_away_s)
    Engine(trace, forecast, replay, on_move=lambda *move: moves.append(move)).run()
    return moves


def timer(name: str, every_s: float, times: int, from_s: float = 5.0) -> list[Row]:
    return [(f"default/{name}", UNIX_S + from_s + every_s * step, 1, 0.5) for step in range(times)]


def bursts(name: str, seed: int) -> list[Row]:
    """Calls in groups, at random but always the same."""
    chance, rows, at_s = random.Random(seed), [], 20.0
    while at_s < 5000.0:
        for _ in range(chance.randint(1, 4)):
            rows.append((f"default/{name}", UNIX_S + at_s, chance.randint(1, 3), 2.3))
            at_s += chance.choice((7.3, 15.4, 33.7))  # never at the very edge of a window, where who is first is chance
        at_s += chance.choice((61.3, 151.7, 302.9, 904.1))
    return rows


ALONE = {
    "one timer": timer("a", 300.0, 20),
    "timers far from each other": timer("a", 300.0, 20) + timer("b", 300.0, 20, 155.0),
    "bursts": bursts("a", 1),
    "other bursts": bursts("a", 4),
}
TOGETHER = {
    "timers out of step": timer("a", 300.0, 20) + timer("b", 310.0, 20, 40.0) + timer("c", 90.0, 60, 3.0),
    "bursts of two functions": bursts("a", 2) + bursts("b", 3),
}


def both(rows: list[Row]) -> Trace:
    return trace_of(sorted(rows, key=lambda row: row[1]), start_s=UNIX_S, end_s=UNIX_S + 7000.0)


def in_order(moves: list[Move]) -> list[Move]:
    return sorted(moves, key=lambda move: (move[0], move[2]))


CASES = [(Returning, name, rows) for name, rows in (ALONE | TOGETHER).items()]
CASES += [(Adaptive, name, rows) for name, rows in ALONE.items()]


@pytest.mark.parametrize(
    ("policy", "rows"), [case[::2] for case in CASES], ids=[f"{case[0].__name__}: {case[1]}" for case in CASES]
)
@pytest.mark.parametrize("least_away_s", [0.0, 30.0])
async def test_both_start_and_stop_the_same_replicas_at_the_same_instants(
    policy: Callable[[], Forecast], rows: list[Row], least_away_s: float
) -> None:
    live = in_order(await live_moves(both(rows), policy(), Bundles(), least_away_s))
    simulated = in_order(simulated_moves(both(rows), policy(), least_away_s))
    assert [move[:2] for move in live] == [move[:2] for move in simulated]
    assert len(live) > 4
    assert max(abs(mine[2] - theirs[2]) for mine, theirs in zip(live, simulated, strict=True)) < TOLERANCE_S


def loaded_s(moves: list[Move], end_s: float) -> float:
    """Seconds from each ready to its stop, over all functions."""
    since: dict[str, float] = {}
    total_s = 0.0
    for function, what, at_s in moves:
        if what == "ready":
            since[function] = at_s
        elif what == "stop":
            total_s += at_s - since.pop(function)
    return total_s + sum(end_s - at_s for at_s in since.values())


@pytest.mark.parametrize("rows", TOGETHER.values(), ids=TOGETHER)
async def test_where_functions_seem_to_follow_each_other_within_seconds_both_come_to_the_same(rows: list[Row]) -> None:
    """The pool hears of calls in groups, up to a second late, so who came first may differ; what it costs does not."""
    trace = both(rows)
    live = in_order(await live_moves(trace, Adaptive(), Bundles()))
    simulated = in_order(simulated_moves(trace, Adaptive()))
    assert len(live) == pytest.approx(len(simulated), rel=0.1)
    assert loaded_s(live, trace.end_s) == pytest.approx(loaded_s(simulated, trace.end_s), rel=0.1)
