"""Several replicas, several calls at once, shared executions."""

from __future__ import annotations

from tests.support.dispatch_rig import Rig, body_of, error_of

from stoker.errors import Canceled, DeadlineExceeded, Overloaded, WorkerLost
from stoker_runtime.invocation import Invocation


def test_identical_calls_share_one_execution() -> None:
    rig = Rig(coalesce=True)
    calls = [rig.call(b"same") for _ in range(5)]
    other = rig.call(b"other")
    replica = rig.replica()
    while replica.executions:
        replica.answer()
    assert replica.bodies == [b"same", b"other"]
    assert [body_of(call) for call in calls] == [b"same"] * 5
    assert body_of(other) == b"other"
    assert (rig.dispatcher.stats.calls, rig.dispatcher.stats.coalesced) == (6, 4)
    assert calls[3].replica_id == "r1"


def test_a_leader_that_leaves_takes_nobody_with_it() -> None:
    rig = Rig(coalesce=True)
    replica = rig.replica()
    leader, follower = rig.call(b"same"), rig.call(b"same")
    assert leader.cancel is not None
    leader.cancel()
    replica.answer()
    assert isinstance(error_of(leader), Canceled)
    assert body_of(follower) == b"same"


def test_the_last_to_leave_cancels_the_execution() -> None:
    rig = Rig(coalesce=True)
    replica = rig.replica()
    calls = [rig.call(b"same"), rig.call(b"same")]
    for call in calls:
        assert call.cancel is not None
        call.cancel()
    assert len(replica.cancelled) == 1
    replica.answer()
    again = rig.call(b"same")
    replica.answer()
    assert body_of(again) == b"same"


def test_each_sharer_keeps_its_own_deadline() -> None:
    rig = Rig(coalesce=True)
    replica = rig.replica()
    patient, hasty = rig.call(b"same"), rig.call(b"same", deadline_s=1.0)
    rig.loop.advance(1.1)
    assert isinstance(error_of(hasty), DeadlineExceeded)
    replica.answer()
    assert body_of(patient) == b"same"


def test_a_call_with_the_same_body_after_the_end_runs_anew() -> None:
    rig = Rig(coalesce=True)
    replica = rig.replica()
    rig.call(b"same")
    replica.answer()
    rig.call(b"same")
    assert len(replica.executions) == 1


def test_an_idle_replica_is_taken_before_a_busy_one() -> None:
    rig = Rig()
    replicas = [rig.replica(f"r{number}") for number in range(3)]
    for number in range(5):
        rig.call(b"%d" % number)
    assert [len(replica.executions) for replica in replicas] == [1, 1, 1]
    assert rig.dispatcher.queue_depth == 2
    assert rig.dispatcher.in_flight == 3


def test_concurrency_is_hard() -> None:
    rig = Rig(concurrency=3)
    replica = rig.replica()
    calls = [rig.call(b"%d" % number) for number in range(5)]
    assert sum(replica.sizes) == 3
    replica.answer()
    assert len(replica.link.in_flight) == 3
    while replica.executions:
        replica.answer()
    assert [body_of(call) for call in calls] == [b"0", b"1", b"2", b"3", b"4"]


def test_a_timeout_among_concurrent_calls_tells_the_others() -> None:
    rig = Rig(concurrency=2, timeout_s=1.0)
    rig.replica()
    late = rig.call(b"late")
    rig.loop.advance(0.5)
    other = rig.call(b"other")
    rig.loop.advance(0.6)
    assert isinstance(error_of(late), DeadlineExceeded)
    assert isinstance(error_of(other), WorkerLost)


def test_short_calls_are_sent_ahead_to_a_lone_replica() -> None:
    rig = Rig()
    replica = rig.replica()
    for number in range(20):
        rig.call(b"%d" % number)
        replica.answer(execute_ns=2000)
    for number in range(10):
        rig.call(b"%d" % number)
    assert len(replica.executions) == 10
    assert set(replica.sizes) == {1}


def test_calls_sent_ahead_of_a_lost_worker_run_elsewhere_unharmed() -> None:
    rig = Rig()
    replica = rig.replica()
    for number in range(20):
        rig.call(b"%d" % number)
        replica.answer(execute_ns=2000)
    calls = [rig.call(b"%d" % number) for number in range(4)]
    replica.die()
    other = rig.replica("r2")
    while other.executions:
        other.answer()
    assert isinstance(error_of(calls[0]), WorkerLost)
    assert [body_of(call) for call in calls[1:]] == [b"1", b"2", b"3"]
    assert calls[1].attempt == 1


def test_short_calls_that_may_run_twice_share_frames_and_are_told_apart_after_a_crash() -> None:
    rig = Rig(idempotent=True)
    replica = rig.replica()
    for number in range(20):
        rig.call(b"%d" % number)
        replica.answer(execute_ns=2000)
    calls = [rig.call(b"%d" % number, settle=False) for number in range(40)]
    rig.loop.settle()
    assert replica.sizes[-3:] == [16, 16, 8]
    for number in range(10):
        while replica.executions:
            if b"5" in replica.executions[0].bodies:
                replica.die()
            else:
                replica.answer()
        replica = rig.replica(f"other{number}")
    assert isinstance(error_of(calls[5]), WorkerLost)
    assert [body_of(call) for call in calls if call is not calls[5]] == [b"%d" % n for n in range(40) if n != 5]
    assert max(call.attempt for call in calls[16:]) == 1


def test_of_calls_that_share_a_frame_only_the_endless_one_ends_in_a_timeout() -> None:
    rig = Rig(idempotent=True, timeout_s=1.0)
    replica = rig.replica()
    for number in range(20):
        rig.call(b"%d" % number)
        replica.answer(execute_ns=2000)
    calls = [rig.call(b"%d" % number, settle=False) for number in range(4)]
    rig.loop.settle()
    for number in range(4):
        while replica.executions and b"2" not in replica.executions[0].bodies:
            replica.answer()
        rig.loop.advance(1.1)
        replica = rig.replica(f"other{number}")
    replica.answer_all()
    assert isinstance(error_of(calls[2]), DeadlineExceeded)
    assert [body_of(calls[number]) for number in (0, 1, 3)] == [b"0", b"1", b"3"]


def test_a_link_that_is_not_writable_takes_nothing_until_it_is() -> None:
    rig = Rig()
    replica = rig.replica()
    replica.link.pause_writing()
    call = rig.call()
    assert not replica.executions
    replica.link.resume_writing()
    replica.answer()
    assert body_of(call) == b"1"


def test_a_worker_that_breaks_the_protocol_is_dropped() -> None:
    rig = Rig(idempotent=True)
    replica = rig.replica()
    call = rig.call()
    replica.feed(b"\x05\x00\x00\x00\x05\xff\xff\xff\xff")
    assert replica.link.is_lost
    assert call.outcome is None
    other = rig.replica("r2")
    other.answer()
    assert body_of(call) == b"1"


def test_a_call_that_would_not_be_served_in_time_is_refused_at_the_door() -> None:
    rig = Rig()
    replica = rig.replica()
    for _ in range(10):  # learn: 1 s each
        rig.call()
        rig.loop.advance(1.0)
        replica.answer(execute_ns=1_000_000_000)
    waiting = [rig.call() for _ in range(10)]
    hopeless = rig.call(deadline_s=5.0)
    patient = rig.call(deadline_s=60.0)
    assert isinstance(error_of(hopeless), Overloaded)
    assert patient.outcome is None
    assert all(call.outcome is None for call in waiting)


def _waiting_behind_a_slow_replica(rig: Rig, count: int) -> list[Invocation]:
    replica = rig.replica()
    for _ in range(10):
        rig.call()
        rig.loop.advance(1.0)
        replica.answer(execute_ns=1_000_000_000)
    waiting = [rig.call() for _ in range(count)]
    rig.loop.advance(5.0)
    return waiting


def _leave(calls: list[Invocation]) -> None:
    for call in calls:
        assert call.cancel is not None
        call.cancel()


def test_callers_that_leave_teach_how_long_callers_wait() -> None:
    rig = Rig()
    waiting = _waiting_behind_a_slow_replica(rig, 80)
    _leave(waiting[20:])
    assert isinstance(error_of(rig.call()), Overloaded)


def test_one_caller_that_leaves_teaches_nothing() -> None:
    rig = Rig()
    waiting = _waiting_behind_a_slow_replica(rig, 20)
    _leave(waiting[-1:])
    assert rig.call().outcome is None
