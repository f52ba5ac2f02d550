"""Items of batch runs wait behind everybody, and share no batch with a caller's calls."""

from __future__ import annotations

import pytest
from tests.support.dispatch_rig import Rig

from stoker.options import Batch
from stoker_runtime.invocation import Invocation, Priority
from stoker_runtime.queue import CallQueue


def call(name: str, priority: Priority, accepted_ns: int = 1) -> Invocation:
    return Invocation(b"", "", lambda _: None, request_id=name, priority=priority, accepted_ns=accepted_ns)


def names(calls: list[Invocation]) -> list[str]:
    return [each.request_id for each in calls]


def filled() -> CallQueue:
    queue = CallQueue(by_method=True)
    for name, priority in (
        ("item 1", Priority.BATCH),
        ("item 2", Priority.BATCH),
        ("job", Priority.BACKGROUND),
        ("call", Priority.INTERACTIVE),
    ):
        queue.push(call(name, priority))
    return queue


def test_callers_go_first_and_their_batch_is_not_filled_up_with_items() -> None:
    queue = filled()
    assert names(queue.peek(8, 2)) == ["call", "job"]
    assert names(queue.take(8, 2, [])) == ["call", "job"]
    assert names(queue.peek(8, 2)) == ["item 1", "item 2"]
    assert names(queue.take(8, 2, [])) == ["item 1", "item 2"]
    assert queue.depth == 0


def test_a_call_that_is_late_still_comes_before_items() -> None:
    queue = filled()
    queue.set_late_aside(2)
    assert names(queue.take(8, 2, [])) == ["call", "job"]


def test_items_are_never_set_aside_as_late() -> None:
    queue = CallQueue(by_method=False)
    queue.push(call("old", Priority.BATCH, accepted_ns=1))
    queue.push(call("new", Priority.BATCH, accepted_ns=9))
    queue.set_late_aside(5)
    assert names(queue.take(8, 10, [])) == ["old", "new"]


def test_items_that_wait_are_no_reason_to_refuse_a_caller() -> None:
    rig = Rig(batch=Batch(max_batch_size=4))
    replica = rig.replica()
    for _ in range(8):  # so that it is known how long a batch takes
        rig.call()
        rig.loop.advance(0.1)
        replica.answer_all()
        rig.loop.settle()
    for _ in range(60):
        rig.call(priority=Priority.BATCH, settle=False)
    rig.loop.settle()
    caller = rig.call(deadline_s=0.5)
    assert caller.outcome is None


def test_a_run_that_is_paused_says_nothing_of_the_patience_of_callers() -> None:
    rig = Rig()
    items = [rig.call(priority=Priority.BATCH) for _ in range(60)]
    rig.loop.advance(2.0)
    for item in items:
        assert item.cancel is not None
        item.cancel()
    assert rig.dispatcher._door.patience.left_share == 0.0


@pytest.mark.parametrize(("priority", "held"), [(Priority.INTERACTIVE, 2), (Priority.BATCH, 1)])
def test_a_replica_holds_one_batch_more_for_callers_and_none_for_batch_runs(priority: Priority, held: int) -> None:
    rig = Rig(batch=Batch(max_batch_size=4))
    replica = rig.replica()
    for _ in range(16):  # so that a batch is known to be shorter than the hops are worth
        rig.call()
        rig.loop.advance(0.0005)
        replica.answer_all()
        rig.loop.settle()
    for _ in range(60):
        rig.call(priority=priority, settle=False)
    rig.loop.settle()
    assert len(replica.executions) == held
