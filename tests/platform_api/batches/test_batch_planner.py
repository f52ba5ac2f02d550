"""The window, the replicas and the share that is raised; when a run is hopeless; what it will take."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_api.batches.estimate import EstimateView, estimate
from stoker_api.batches.failures import is_hopeless
from stoker_api.batches.planner import PlanView, plan_window

VIEWS = st.builds(
    PlanView,
    calls_each=st.integers(1, 256),
    ready=st.integers(0, 20),
    max_replicas=st.integers(1, 20),
    max_queue_depth=st.integers(1, 5000),
    max_concurrency=st.none() | st.integers(1, 500),
    left=st.none() | st.floats(0, 1e7),
    deadline_in_s=st.none() | st.floats(-100, 1e6),
    rate_per_s=st.floats(0, 1e5),
    each_per_s=st.floats(0, 1e5),
    load_s=st.floats(0, 100),
    is_quick=st.booleans(),
)
VIEW = PlanView(
    calls_each=32, ready=2, max_replicas=4, max_queue_depth=1000, left=10_000, rate_per_s=100, each_per_s=50, load_s=1
)


@given(view=VIEWS)
def test_every_bound_holds(view: PlanView) -> None:
    plan = plan_window(view)
    assert 1 <= plan.window <= max(1, view.max_queue_depth // 2)
    assert view.max_concurrency is None or plan.window <= view.max_concurrency
    assert 1 <= plan.replicas <= view.max_replicas
    assert 0.0 <= plan.raised <= 1.0


@given(view=VIEWS)
def test_nothing_is_raised_without_a_deadline(view: PlanView) -> None:
    assert plan_window(dataclasses.replace(view, deadline_in_s=None)).raised == 0.0


@given(view=VIEWS, sooner_s=st.floats(0.01, 1000))
def test_a_nearer_deadline_never_lowers_share_or_replicas(view: PlanView, sooner_s: float) -> None:
    if view.deadline_in_s is None:
        view = dataclasses.replace(view, deadline_in_s=100.0)
    assert view.deadline_in_s is not None
    nearer = plan_window(dataclasses.replace(view, deadline_in_s=view.deadline_in_s - sooner_s))
    plan = plan_window(view)
    assert nearer.raised >= plan.raised
    assert nearer.replicas >= plan.replicas


def test_the_window_fills_every_replica_twice() -> None:
    assert plan_window(VIEW).window == 2 * 32 * 2


def test_a_run_on_time_is_not_raised_and_one_that_lags_is_by_what_is_missing() -> None:
    on_time = dataclasses.replace(VIEW, deadline_in_s=10_000 / 100 / 0.9 + 1)
    assert plan_window(on_time).raised == 0.0
    lagging = dataclasses.replace(VIEW, deadline_in_s=50 / 0.9)
    assert plan_window(lagging).raised == pytest.approx(0.5)
    assert plan_window(dataclasses.replace(VIEW, deadline_in_s=-1)).raised == 1.0


def test_a_run_with_time_takes_no_more_replicas_than_it_needs() -> None:
    assert plan_window(VIEW).replicas == 4
    assert plan_window(dataclasses.replace(VIEW, deadline_in_s=10_000.0)).replicas == 1
    assert plan_window(dataclasses.replace(VIEW, deadline_in_s=150.0)).replicas == 2


def test_a_short_run_starts_no_replica_that_would_come_too_late() -> None:
    assert plan_window(dataclasses.replace(VIEW, left=100, load_s=10)).replicas == 1


@given(done=st.integers(1, 100_000), share=st.floats(0, 1), limit=st.floats(0.01, 0.99))
def test_a_run_below_its_limit_is_never_stopped(done: int, share: float, limit: float) -> None:
    failed = math.floor(done * share * limit)
    assert not is_hopeless(done, failed, limit)
    assert not is_hopeless(done, failed, limit, is_complete=True)


def test_a_run_of_which_everything_fails_is_stopped_soon_and_a_bad_start_is_not() -> None:
    assert not is_hopeless(3, 3, 0.5)
    assert is_hopeless(30, 30, 0.5)
    assert not is_hopeless(100, 100, 1.0)
    assert is_hopeless(1, 1, 0.0)
    assert is_hopeless(3, 2, 0.5, is_complete=True)


def test_an_estimate_says_where_nothing_was_learned() -> None:
    view = EstimateView(
        rows=1000,
        is_rows_exact=True,
        row_bytes=10,
        calls_each=10,
        a_s=0,
        b_s=0,
        costs_bytes=False,
        mean_s=0,
        replicas=2,
    )
    assert estimate(view)["duration_s"] is None
    assert "nothing was learned" in estimate(view)["note"]
    learned = estimate(dataclasses.replace(view, a_s=0.1, b_s=0.01, second_cost=0.5))
    assert learned["replica_seconds"] == pytest.approx(20.0)
    assert learned["duration_s"] == pytest.approx(10.0)
    assert learned["cost"] == pytest.approx(10.0)
    assert "whole input" in estimate(dataclasses.replace(view, rows=None))["note"]
