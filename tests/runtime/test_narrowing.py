from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_runtime.cost_model import CostModel
from stoker_runtime.narrowing import FaultRate, NarrowingPlan, RunPrice

PRICES = st.builds(RunPrice, st.floats(0, 10), st.floats(0, 1))


def learned(a_s: float, b_s: float) -> CostModel:
    model = CostModel()
    for turn in range(60):
        cost = float(1 + turn % 32)
        model.observe(cost, a_s + b_s * cost)
    return model


@given(good=PRICES, failed=PRICES, bad_share=st.floats(0, 1), largest=st.integers(1, 300), suspects=st.integers(2, 300))
def test_some_suspects_run_and_some_do_not(
    good: RunPrice, failed: RunPrice, bad_share: float, largest: int, suspects: int
) -> None:
    plan = NarrowingPlan(good, failed, bad_share, largest)
    first = plan.suspects_to_run(suspects)
    assert 1 <= first < suspects
    assert suspects // 4 <= first <= max(1, 3 * suspects / 4)
    assert 1 <= plan.best_size <= largest
    assert math.isfinite(plan.item_s)


def runs_until_answered(plan: NarrowingPlan, is_bad: list[bool]) -> int:
    """Failed runs of the unluckiest one among suspects, where what goes back runs with its own kind."""
    most, groups = 0, [(list(range(len(is_bad))), 1, any(is_bad))]
    while groups:
        calls, runs, fails = groups.pop()
        most = max(most, runs)
        if not fails or len(calls) == 1:
            continue
        first = plan.suspects_to_run(len(calls))
        front, rest = calls[:first], calls[first:]
        front_fails = any(is_bad[call] for call in front)
        groups.append((front, runs + 1, front_fails))
        groups.append((rest, runs + (not front_fails), any(is_bad[call] for call in rest)))
    return most


@given(is_bad=st.lists(st.booleans(), min_size=1, max_size=200), failed=PRICES)
def test_no_call_runs_more_often_than_the_groups_can_shrink(is_bad: list[bool], failed: RunPrice) -> None:
    plan = NarrowingPlan(RunPrice(4, 0.5), failed, 0.02, 32)
    assert runs_until_answered(plan, is_bad) <= 2 * (2 + math.log(len(is_bad), 4 / 3))


def test_many_run_first_where_failing_is_cheap_and_few_where_it_is_dear() -> None:
    good = RunPrice(4.0, 0.5)
    assert NarrowingPlan(good, RunPrice(0.1, 0.0), 0.02, 32).suspects_to_run(32) == 24
    assert NarrowingPlan(good, good, 0.02, 32).suspects_to_run(16) < 8


def test_batches_shrink_only_when_bad_items_are_frequent_and_dear() -> None:
    model = learned(0.001, 0.005)
    faults = FaultRate(32)
    assert faults.batch_size(model, 1.0) == 32
    for _ in range(10):
        faults.note_good(49)
        faults.note_failed(32.0, 0.0003)
        faults.note_failed(1.0, 0.0003)
        faults.note_bad()
    assert faults.batch_size(model, 1.0) == 32  # failing is cheap: it stops at once
    for _ in range(60):
        faults.note_failed(32.0, 0.161)
        faults.note_failed(16.0, 0.081)
    assert faults.batch_size(model, 1.0) < 16


@pytest.mark.parametrize(
    ("failed", "share"),
    [pytest.param(RunPrice(0.2, 0.0), 0.83, id="early"), pytest.param(RunPrice(4.0, 0.5), 0.43, id="late")],
)
def test_a_plan_promises_what_it_keeps(failed: RunPrice, share: float) -> None:
    """The expected price of an item against a thousand batches drawn at random, with one bad item in fifty."""
    good, chance = RunPrice(4.0, 0.5), random.Random(7)
    plan = NarrowingPlan(good, failed, 0.02, 32)
    queue = [chance.random() < 0.02 for _ in range(40_000)]
    spent_s, answered = 0.0, 0
    while len(queue) > 32:
        suspects, is_known = [queue.pop() for _ in range(plan.best_size)], False
        while suspects:
            first = plan.suspects_to_run(len(suspects)) if is_known and len(suspects) > 1 else len(suspects)
            front, rest = suspects[:first], suspects[first:]
            if not any(front):
                spent_s += good.of(first)
                answered += first
                suspects, is_known = rest, True
            elif first == 1:
                spent_s += failed.of(1)
                answered += 1
                queue += rest
                break
            else:
                spent_s += failed.of(first)
                queue += rest
                suspects, is_known = front, True
    assert spent_s / answered == pytest.approx(plan.item_s, rel=0.05)
    assert good.of(32) / 32 / plan.item_s >= share
