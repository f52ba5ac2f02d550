from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stoker.options import Batch
from stoker_runtime.batcher import BatchView, plan_batch
from stoker_runtime.cost_model import CostModel
from stoker_runtime.narrowing import regroup_after_loss
from stoker_runtime.pipelining import MOST_CALLS, calls_per_replica, prefetches_batch


def learned(a_s: float, b_s: float) -> CostModel:
    model = CostModel()
    for turn in range(60):
        cost = float(1 + turn % 32)
        model.observe(cost, a_s + b_s * cost)
    return model


def view(waiting: int, *, oldest_wait_s: float = 0.0, rate: float = 0.0) -> BatchView:
    return BatchView(costs=[1.0] * waiting, oldest_wait_s=oldest_wait_s, arrival_rate_per_s=rate)


@given(
    costs=st.lists(st.floats(0.1, 100), max_size=64),
    size=st.integers(1, 64),
    cost=st.one_of(st.none(), st.floats(0.5, 200)),
    target_ms=st.one_of(st.none(), st.floats(1, 1000)),
    timeout_ms=st.floats(0, 100),
    rate=st.floats(0, 1e5),
    waited_s=st.floats(0, 10),
)
def test_limits_are_hard_and_waits_bounded(
    costs: list[float],
    size: int,
    cost: float | None,
    target_ms: float | None,
    timeout_ms: float,
    rate: float,
    waited_s: float,
) -> None:
    batch = Batch(max_batch_size=size, max_batch_cost=cost, latency_target_ms=target_ms, batch_timeout_ms=timeout_ms)
    plan = plan_batch(
        BatchView(costs=costs, oldest_wait_s=waited_s, arrival_rate_per_s=rate), batch, learned(0.01, 0.001)
    )
    assert plan.size <= min(size, len(costs))
    assert plan.size <= 1 or cost is None or sum(costs[: plan.size]) <= cost
    assert plan.wait_s <= max(0.0, timeout_ms / 1e3 - waited_s) + 1e-9
    assert (plan.size == 0) == (plan.wait_s > 0 or not costs)


def test_by_default_nothing_waits() -> None:
    assert plan_batch(view(1, rate=1e6), Batch(), learned(1.0, 0.001)).size == 1


def test_it_waits_when_mates_are_coming_soon_and_the_fixed_part_is_large() -> None:
    plan = plan_batch(view(2, rate=1000.0), Batch(batch_timeout_ms=20), learned(0.05, 0.001))
    assert plan.size == 0
    assert 0 < plan.wait_s <= 0.02


def test_it_does_not_wait_when_nobody_comes_or_nothing_is_saved() -> None:
    batch = Batch(batch_timeout_ms=20)
    assert plan_batch(view(2, rate=1.0), batch, learned(0.05, 0.001)).size == 2
    assert plan_batch(view(2, rate=1000.0), batch, learned(0.0, 0.001)).size == 2
    assert plan_batch(view(2, rate=1000.0, oldest_wait_s=0.02), batch, learned(0.05, 0.001)).size == 2


def test_the_largest_batch_that_keeps_the_latency_target() -> None:
    plan = plan_batch(view(64), Batch(max_batch_size=64, latency_target_ms=30), learned(0.01, 0.001))
    assert 19 <= plan.size <= 20


def test_before_anything_is_learned_a_latency_target_starts_small_and_grows() -> None:
    batch = Batch(max_batch_size=64, latency_target_ms=1000)
    model = CostModel()
    sizes = []
    for _ in range(5):
        size = plan_batch(view(64), batch, model).size
        sizes.append(size)
        model.observe(size, 0.001 * size)
    assert sizes == [1, 2, 4, 8, 16]


@given(st.lists(st.integers(), min_size=1, max_size=100), st.integers(0, 5))
def test_groups_after_a_loss_lose_nobody_and_shrink(group: list[int], attempts_left: int) -> None:
    groups = regroup_after_loss(group, attempts_left)
    assert [item for part in groups for item in part] == group
    assert max(map(len, groups)) < max(len(group), 2)
    assert attempts_left > 1 or max(map(len, groups)) == 1


def test_sending_ahead_is_for_short_calls() -> None:
    assert calls_per_replica(0.000_002, 0.0001, observations=100) == MOST_CALLS
    assert calls_per_replica(0.0005, 0.0001, observations=100) == 2
    assert calls_per_replica(0.1, 0.0001, observations=100) == 1
    assert calls_per_replica(0.000_002, 0.0001, observations=1) == 1


def test_only_full_short_batches_are_sent_ahead() -> None:
    assert prefetches_batch(0.001, 0.0001, waiting=32, full_batch=32, observations=10)
    assert not prefetches_batch(0.001, 0.0001, waiting=31, full_batch=32, observations=10)
    assert not prefetches_batch(0.1, 0.0001, waiting=32, full_batch=32, observations=10)
