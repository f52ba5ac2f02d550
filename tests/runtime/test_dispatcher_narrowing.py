"""One bad item in many, before a dispatcher in virtual time: nobody is forgotten while suspects are told apart."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.dispatch_rig import Rig, body_of, error_of
from tests.support.fake_replica import FakeReplica

from stoker.errors import FunctionError
from stoker.options import Batch, Retries
from stoker_runtime.invocation import Invocation


def failed_batch(rig: Rig) -> tuple[list[Invocation], FakeReplica]:
    """Eight calls of which the third is bad failed together; some of them run again, and the others are parked."""
    calls = [rig.call(b"%d" % number) for number in range(8)]
    replica = rig.replica()
    replica.answer({b"2"})
    rig.loop.settle()
    assert replica.sizes == [8, 4]
    return calls, replica


def finish(rig: Rig, replica: FakeReplica, bad: set[bytes]) -> None:
    while replica.executions:
        replica.answer(bad)
        rig.loop.settle()


def test_the_rest_runs_with_fresh_calls_once_the_fault_is_known_to_be_elsewhere() -> None:
    rig = Rig(batch=Batch(max_batch_size=8))
    _, replica = failed_batch(rig)
    fresh = [rig.call(b"fresh %d" % number) for number in range(4)]
    finish(rig, replica, {b"2"})
    assert replica.sizes == [8, 4, 2, 1, 8, 1]  # 0-3 fail, 0-1 pass, 2 fails; 3-7 and three fresh ones share a run
    assert all(body_of(call) == call.body for call in fresh)


def test_the_rest_is_split_at_once_when_those_before_it_were_good() -> None:
    rig = Rig(batch=Batch(max_batch_size=8))
    calls = [rig.call(b"%d" % number) for number in range(8)]
    replica = rig.replica()
    finish(rig, replica, {b"7"})
    assert replica.sizes == [8, 4, 2, 1, 1]
    assert [error_of(call) is not None for call in calls] == [False] * 7 + [True]


def test_a_parked_call_keeps_its_deadline() -> None:
    rig = Rig(batch=Batch(max_batch_size=8))
    calls = [rig.call(b"%d" % number, deadline_s=0.5 if number == 7 else 0) for number in range(8)]
    replica = rig.replica()
    replica.answer({b"2"})
    rig.loop.settle()
    rig.loop.advance(0.6)
    error = error_of(calls[7])
    assert error is not None
    assert (error.code, error.phase) == ("deadline_exceeded", "queue")
    finish(rig, replica, {b"2"})
    assert rig.dispatcher.queue_depth == 0
    assert sum(error_of(call) is not None for call in calls) == 2


def test_a_parked_call_can_be_cancelled() -> None:
    rig = Rig(batch=Batch(max_batch_size=8))
    calls, replica = failed_batch(rig)
    cancel = calls[6].cancel
    assert cancel is not None
    cancel()
    finish(rig, replica, {b"2"})
    assert replica.bodies.count(b"6") == 1
    assert rig.dispatcher.queue_depth == 0
    assert len(rig.ended) == 8


@pytest.mark.parametrize("idempotent", [True, False])
def test_parked_calls_outlive_the_replica_that_ran_the_others(idempotent: bool) -> None:
    rig = Rig(batch=Batch(max_batch_size=8), idempotent=idempotent)
    calls, replica = failed_batch(rig)
    replica.die()
    rig.loop.settle()
    finish(rig, rig.replica("r2"), {b"2"})
    codes = Counter(error.code if (error := error_of(call)) else "" for call in calls)
    assert codes == ({"": 7, "function_error": 1} if idempotent else {"": 4, "worker_lost": 4})


def test_a_replica_with_nothing_else_to_do_takes_parked_calls() -> None:
    rig = Rig(batch=Batch(max_batch_size=8))
    calls, first = failed_batch(rig)
    second = rig.replica("r2")
    assert second.sizes == [4]
    second.answer({b"2"})
    rig.loop.settle()
    assert all(body_of(call) == call.body for call in calls[4:])
    while first.executions or second.executions:
        finish(rig, first, {b"2"})
        finish(rig, second, {b"2"})
    assert len(rig.ended) == 8


def test_a_bad_item_that_is_tried_again_runs_alone() -> None:
    retries = Retries(max_attempts=3, on_function_error=True)
    rig = Rig(batch=Batch(max_batch_size=8), retries=retries)
    _, replica = failed_batch(rig)
    for number in range(8):
        rig.call(b"fresh %d" % number)
    finish(rig, replica, {b"2"})
    assert replica.sizes.count(1) >= 3
    assert replica.bodies.count(b"2") == 5  # in 8, in 4, alone thrice


@given(
    bad=st.lists(st.booleans(), min_size=1, max_size=60),
    max_batch_size=st.integers(1, 16),
    replicas=st.integers(1, 3),
    fail_s=st.sampled_from([0.0001, 0.001, 0.02]),
    arrivals=st.lists(st.integers(1, 20), max_size=8),
)
@settings(max_examples=80, deadline=None)
def test_every_good_item_is_answered_within_a_bounded_number_of_runs(
    bad: list[bool], max_batch_size: int, replicas: int, fail_s: float, arrivals: list[int]
) -> None:
    rig = Rig(batch=Batch(max_batch_size=max_batch_size), timeout_s=300.0)
    bad_bodies = {b"%d" % index for index, is_bad in enumerate(bad) if is_bad}
    pool = [rig.replica(f"r{number}") for number in range(replicas)]
    left, calls = list(range(len(bad))), list[Invocation]()
    steps = [*arrivals, len(bad)]
    while left or any(replica.executions for replica in pool):
        for number in left[: (count := steps.pop(0) if steps else 1)]:
            calls.append(rig.call(b"%d" % number))
        left = left[count:]
        for replica in pool:
            if replica.executions:
                bodies = replica.executions[0].bodies
                rig.loop.advance(fail_s if bad_bodies & set(bodies) else 0.004 + 0.001 * len(bodies))
                replica.answer(bad_bodies)
        rig.loop.settle()
    assert [isinstance(error_of(call), FunctionError) for call in calls] == bad
    assert len(rig.ended) == len(calls) == len(bad)
    assert rig.dispatcher.queue_depth == 0
    runs = Counter(body for replica in pool for body in replica.bodies)
    assert max(runs.values()) <= 5 + 4 * max_batch_size.bit_length()
    assert max(size for replica in pool for size in replica.sizes) <= max_batch_size
