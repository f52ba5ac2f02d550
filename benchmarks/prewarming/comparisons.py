"""What is compared with what, and which figure each comparison should reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from benchmarks.prewarming.cross_fitted import PREFIX
from benchmarks.prewarming.replays import Replays, Task
from stoker_pool.simulation.pareto import Point, cold_at, waste_at

Row = dict[str, object]

AZURE: Final = "azure2019_500x8h"
SERVEGEN: Final = ("servegen_1day", "servegen_large")
GENTD: Final = ("gentd26_models_first40", "gentd26_tenants_first40")
TRACES: Final = (AZURE, *SERVEGEN, *GENTD)
HISTOGRAM: Final = "hybrid-histogram"
FIXED: Final = tuple(
    f"fixed:{seconds}"
    for seconds in (30, 60, 90, 120, 180, 240, 300, 420, 510, 600, 720, 900, 1200, 1800, 2700, 3600, 5400, 7200, 14400)
)
PRICES_S: Final = (
    150, 300, 425, 600, 850, 1200, 1700, 2400, 3400, 4800, 6800, 9600, 13_600, 19_200, 27_200, 40_000, 80_000, 160_000,
    600_000,
)  # fmt: skip
"""As many as there are timers: between two settings of a policy, a straight line is all that is claimed."""
LARGE_PRICES_S: Final = (600, 2400, 4800, 9600, 40000, 160000)
"""Each replay of two weeks and 961,081 rows takes minutes."""
OURS: Final = PREFIX
"""The production policy, each half of the functions forecast by weights fitted to the other."""
HISTOGRAMS: Final = ("hybrid-histogram:1", "hybrid-histogram:2", HISTOGRAM, "hybrid-histogram:8")
OTHERS: Final = ("knative", "oracle-keep-alive:600", *HISTOGRAMS)
SLOTS: Final = (4, 8, 16)
RULES: Final = ("lru", "lfu", "greedy-dual")
LOAD_S: Final = 20.0
SCARCE: Final = f"{OURS}600"
_WASTES: Final = tuple(0.5 + 0.05 * step for step in range(71))


def adaptive(trace: str, *, is_short: bool = False) -> tuple[str, ...]:
    """Our policy at several prices."""
    prices_s = LARGE_PRICES_S if trace == "servegen_large" else PRICES_S
    return tuple(f"{OURS}{price_s}" for price_s in (prices_s[2::3] if is_short else prices_s))


def open_tasks(trace: str, *, is_short: bool = False) -> list[Task]:
    """Without a limit of room."""
    fixed = ("fixed:300", "fixed:600", "fixed:1200") if is_short else FIXED
    ours = adaptive(trace, is_short=is_short)
    tasks = [Task(trace, policy) for policy in (*fixed, *OTHERS, *ours)]
    if trace == SERVEGEN[0]:
        tasks += [Task(trace, policy, is_instant=True) for policy in ("fixed:600", *ours)]
    return tasks


def scarce_tasks(trace: str) -> list[Task]:
    """With room for so many, and with host memory behind it."""
    return [
        Task(trace, policy, slots, host_slots, LOAD_S)
        for slots in SLOTS
        for host_slots in (0, 4 * slots)
        for policy in (*RULES, "belady", SCARCE)
    ]


def known_figures(replays: Replays, traces: Sequence[str]) -> list[Row]:
    """The simulator's own check: figures of published baselines that an earlier simulator gave."""
    rows: list[Row] = []
    if AZURE in traces:
        fixed, histogram = replays.point(AZURE, "fixed:600"), replays.point(AZURE, HISTOGRAM)
        rows.append(_known(AZURE, "fixed 10 min, cold %", 0.0754, 100 * fixed.cold_share))
        rows.append(_known(AZURE, "hybrid histogram 4 h, cold %", 0.0193, 100 * histogram.cold_share))
        rows.append(_known(AZURE, "hybrid histogram 4 h, waste", 0.996, histogram.waste))
        oracle = replays.point(AZURE, "oracle-keep-alive:600")
        rows.append(_known(AZURE, "keep-alive oracle, waste at that cold share", 0.815, oracle.waste))
    if SERVEGEN[1] in traces:
        fixed, histogram = replays.point(SERVEGEN[1], "fixed:600"), replays.point(SERVEGEN[1], HISTOGRAM)
        rows.append(_known(SERVEGEN[1], "fixed 10 min, cold %", 0.0027, 100 * fixed.cold_share))
        rows.append(_known(SERVEGEN[1], "hybrid histogram 4 h, cold %", 0.0131, 100 * histogram.cold_share))
        rows.append(_known(SERVEGEN[1], "hybrid histogram 4 h, waste", 0.876, histogram.waste))
    return rows


def targets(replays: Replays, traces: Sequence[str], fixed: Sequence[str], *, is_short: bool) -> list[Row]:
    """Cold starts at equal idle time, and idle time at equal cold starts."""
    rows: list[Row] = []
    for trace in traces:
        ours, timers = replays.curve(trace, adaptive(trace, is_short=is_short)), replays.curve(trace, fixed)
        histogram = replays.point(trace, HISTOGRAM)
        if trace == AZURE:
            cold = cold_at(ours, histogram.waste)
            rows.append(_row(trace, "cold % at the histogram's waste", "≤ 0.50 ×", cold, histogram.cold_share))
            rows.append(_row_waste(trace, "waste at the histogram's cold share", 0.72, ours, histogram.cold_share))
        if trace in SERVEGEN:
            normal = replays.point(trace, "fixed:600").cold_share
            rows.append(_row(trace, "cold % at the waste of fixed 10 min", "≤ 0.42 ×", cold_at(ours, 1.0), normal))
        if trace == SERVEGEN[0]:
            normal = replays.point(trace, "fixed:600", is_instant=True).cold_share
            instant = replays.curve(trace, adaptive(trace, is_short=is_short), is_instant=True)
            what = "the same, were no call to take time"
            rows.append(_row(trace, what, "≤ 0.42 ×", cold_at(instant, 1.0), normal))
        if trace in GENTD:
            both = [*timers, histogram]
            for waste, target in ((1.0, "≤ 0.93 ×"), (4.5, "≤ 0.84 ×")):
                best = min(cold_at(timers, waste), _cold_of(both[-1], waste))
                rows.append(_row(trace, f"cold % at waste {waste:g}", target, cold_at(ours, waste), best))
        rows.append(_never_worse(trace, ours, timers))
    return rows


def scarce_room(replays: Replays, traces: Sequence[str]) -> list[Row]:
    """Who leaves a device that is full (a start takes 20 s; cold % of calls), and what host memory is worth."""
    rows: list[Row] = []
    for trace in traces:
        for slots in SLOTS:
            alone = {policy: _scarce(replays, trace, policy, slots, 0) for policy in (*RULES, "belady")}
            alone["adaptive"] = _scarce(replays, trace, SCARCE, slots, 0)
            behind = _scarce(replays, trace, SCARCE, slots, 4 * slots)
            best = min(alone[rule][0] for rule in RULES)
            rows.append(
                {
                    "trace": trace,
                    "slots": slots,
                    **{policy: f"{100 * cold:.2f}" for policy, (cold, _) in alone.items()},
                    "adaptive / best": f"{alone['adaptive'][0] / best:.3f}",
                    "full starts with host memory": f"{100 * behind[1]:.2f}",
                    "of those without": f"{behind[1] / alone['adaptive'][1]:.3f}",
                }
            )
    return rows


def _scarce(replays: Replays, trace: str, policy: str, slots: int, host_slots: int) -> tuple[float, float]:
    """Cold share, and the share of full starts."""
    found = replays.result(Task(trace, policy, slots, host_slots, LOAD_S))
    return found.cold_share, (found.cold_starts - found.host_starts) / found.calls


def _cold_of(point: Point, waste: float) -> float:
    return point.cold_share if point.waste <= waste else math.inf


def _never_worse(trace: str, ours: Sequence[Point], timers: Sequence[Point]) -> Row:
    """The worst place between half and four times the waste of ten minutes."""
    worst, at = 0.0, math.nan
    for waste in _WASTES:
        mine, theirs = cold_at(ours, waste), cold_at(timers, waste)
        if math.isfinite(mine) and math.isfinite(theirs) and theirs > 0 and mine / theirs > worst:
            worst, at = mine / theirs, waste
    cold, best = cold_at(ours, at), cold_at(timers, at)
    row = _row(trace, "worst against the best timer, waste 0.5 to 4", "≤ 1.02 ×", cold, best)
    row["what"] = f"{row['what']} (at {at:.2f})"
    return row


def _row(trace: str, what: str, target: str, ours: float, baseline: float) -> Row:
    return {
        "trace": trace,
        "what": what,
        "target": target,
        "adaptive": f"{100 * ours:.4g}",
        "baseline": f"{100 * baseline:.4g}",
        "ratio": f"{ours / baseline:.3f}",
    }


def _row_waste(trace: str, what: str, target: float, ours: Sequence[Point], cold_share: float) -> Row:
    waste = waste_at(ours, cold_share)
    return {
        "trace": trace,
        "what": what,
        "target": f"≤ {target:g}",
        "adaptive": f"{waste:.3f}",
        "baseline": "1",
        "ratio": f"{waste:.3f}",
    }


def _known(trace: str, what: str, known: float, found: float) -> Row:
    return {
        "trace": trace,
        "what": what,
        "known": f"{known:g}",
        "here": f"{found:.4g}",
        "ratio": f"{found / known:.3f}",
    }
