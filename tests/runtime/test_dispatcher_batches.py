from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.dispatch_rig import Rig, body_of, error_of

from stoker.errors import FunctionError
from stoker.options import Batch


@given(
    bad=st.lists(st.booleans(), min_size=1, max_size=40),
    max_batch_size=st.integers(1, 16),
    replicas=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_exactly_the_bad_items_fail(bad: list[bool], max_batch_size: int, replicas: int) -> None:
    rig = Rig(batch=Batch(max_batch_size=max_batch_size))
    bad_bodies = {b"%d" % index for index, is_bad in enumerate(bad) if is_bad}
    calls = [rig.call(b"%d" % index) for index in range(len(bad))]
    pool = [rig.replica(f"r{number}") for number in range(replicas)]
    while any(replica.executions for replica in pool):
        for replica in pool:
            if replica.executions:
                replica.answer(bad_bodies)
        rig.loop.settle()
    assert [isinstance(error_of(call), FunctionError) for call in calls] == bad
    assert all(body_of(call) == call.body for call, is_bad in zip(calls, bad, strict=True) if not is_bad)
    assert max(size for replica in pool for size in replica.sizes or [0]) <= max_batch_size
    assert len(rig.ended) == len(calls)


@given(
    sizes=st.lists(st.integers(1, 100), min_size=1, max_size=40),
    max_batch_cost=st.integers(1, 120),
    max_batch_size=st.integers(1, 8),
)
@settings(max_examples=60, deadline=None)
def test_batch_cost_and_size_are_hard(sizes: list[int], max_batch_cost: int, max_batch_size: int) -> None:
    rig = Rig(batch=Batch(max_batch_size=max_batch_size, max_batch_cost=max_batch_cost, cost_fn="bytes"))
    calls = [rig.call(b"x" * size) for size in sizes]
    replica = rig.replica()
    while replica.executions:
        bodies = replica.answer().bodies
        rig.loop.settle()
        assert len(bodies) <= max_batch_size
        assert sum(map(len, bodies)) <= max_batch_cost or len(bodies) == 1
    assert all(body_of(call) == call.body for call in calls)


def test_batches_fill_while_the_replica_is_busy_and_nothing_waits_when_it_is_idle() -> None:
    rig = Rig(batch=Batch(max_batch_size=8))
    replica = rig.replica()
    for number in range(20):
        rig.call(b"%d" % number)
    while replica.executions:
        replica.answer()
    assert replica.sizes == [1, 8, 8, 3]
    assert rig.dispatcher.stats.largest_batch == 8


def test_methods_do_not_share_a_batch() -> None:
    rig = Rig(batch=Batch(max_batch_size=8))
    for number in range(6):
        rig.call(b"%d" % number, method="a" if number % 2 else "b")
    replica = rig.replica()
    replica.answer_all()
    assert replica.bodies == [b"0", b"2", b"4", b"1", b"3", b"5"]
    assert replica.sizes == [3, 3]


def test_without_isolation_a_failed_batch_fails_as_a_whole() -> None:
    rig = Rig(batch=Batch(max_batch_size=4, isolate_errors=False))
    calls = [rig.call(b"%d" % number) for number in range(4)]
    rig.replica().answer({b"2"})
    assert all(isinstance(error_of(call), FunctionError) for call in calls)


def test_a_cancelled_mate_is_left_out_of_the_halves() -> None:
    rig = Rig(batch=Batch(max_batch_size=4))
    calls = [rig.call(b"%d" % number) for number in range(4)]
    replica = rig.replica()
    cancel = calls[1].cancel
    assert cancel is not None
    cancel()
    replica.answer({b"2"})
    rig.loop.settle()
    while replica.executions:
        replica.answer({b"2"})
        rig.loop.settle()
    assert replica.bodies.count(b"1") == 1
    assert isinstance(error_of(calls[2]), FunctionError)
    assert [body_of(calls[0]), body_of(calls[3])] == [b"0", b"3"]


def test_a_batch_past_timeout_is_told_apart_where_it_may_run_twice() -> None:
    rig = Rig(batch=Batch(max_batch_size=4), timeout_s=1.0, idempotent=True)
    calls = [rig.call(b"%d" % number) for number in range(4)]
    for number in range(8):
        replica = rig.replica(f"r{number}")
        while replica.executions and b"2" not in replica.executions[0].bodies:
            replica.answer()
            rig.loop.settle()
        rig.loop.advance(1.1)
    assert [call.outcome is not None and call.outcome.error is None for call in calls] == [True, True, False, True]
    error = error_of(calls[2])
    assert error is not None
    assert (error.code, error.phase) == ("deadline_exceeded", "execute")


def test_one_bad_in_fifty_costs_little_when_it_fails_early() -> None:
    """Replica time in a model where an execution costs 2 ms + 5 ms per item, and a failing one 1 ms."""
    rig = Rig(batch=Batch(max_batch_size=32), max_queue_depth=5000)
    bad = {b"%d" % number for number in range(0, 2000, 50)}
    calls = [rig.call(b"%d" % number, settle=False) for number in range(2000)]
    rig.loop.settle()
    replica = rig.replica()
    while replica.executions:
        bodies = replica.executions[0].bodies
        rig.loop.advance(0.001 if bad & set(bodies) else 0.002 + 0.005 * len(bodies))
        replica.answer(bad)
        rig.loop.settle()
    took_s = rig.loop.clock.monotonic_s() - 1000.0
    ideal_s = 2000 / 32 * 0.002 + 2000 * 0.005
    assert sum(error_of(call) is not None for call in calls) == len(bad)
    assert took_s < ideal_s / 0.8


def test_one_bad_in_fifty_still_pays_when_it_fails_late() -> None:
    """A failing execution costs as much as a good one: batches shrink to where narrowing down is cheap."""
    rig = Rig(batch=Batch(max_batch_size=32), max_queue_depth=50_000)
    bad = {b"%d" % number for number in range(0, 10_000, 50)}
    for number in range(10_000):
        rig.call(b"%d" % number, settle=False)
    rig.loop.settle()
    replica = rig.replica()
    while replica.executions:
        rig.loop.advance(0.0005 + 0.005 * len(replica.executions[0].bodies))
        replica.answer(bad)
        rig.loop.settle()
    took_s = rig.loop.clock.monotonic_s() - 1000.0
    ideal_s = 10_000 / 32 * 0.0005 + 10_000 * 0.005
    assert took_s < ideal_s / 0.75
