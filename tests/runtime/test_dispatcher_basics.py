from __future__ import annotations

from tests.support.dispatch_rig import Rig, body_of, error_of
from tests.support.fake_replica import fake_replica

from stoker.errors import Canceled, DeadlineExceeded, FunctionError, NotReady, Overloaded, StartFailed, WorkerLost
from stoker.options import Batch, Retries
from stoker_runtime.invocation import Priority


def test_a_call_is_answered_by_an_idle_replica() -> None:
    rig = Rig()
    replica = fake_replica()
    rig.dispatcher.attach(replica.link)
    call = rig.call(b"42")
    replica.answer()
    assert body_of(call) == b"42"
    assert (call.replica_id, call.revision_number, call.attempt, call.is_cold) == ("r1", 3, 1, False)
    assert rig.dispatcher.stats.calls == 1


def test_a_cold_call_asks_for_a_replica_once_and_waits_for_it() -> None:
    rig = Rig()
    phases: list[str] = []
    call = rig.call()
    call.on_phase = phases.append
    rig.dispatcher.start_phase("fork")
    assert rig.demands == 1
    assert call.outcome is None
    rig.loop.advance(2.0)
    ready_ns = rig.dispatcher.now_ns()
    replica = fake_replica()
    rig.dispatcher.attach(replica.link)
    rig.dispatcher.note_cold_start({"place": 500_000_000, "fork": 1_500_000_000}, ready_ns)
    rig.loop.settle()
    replica.answer()
    assert body_of(call) == b"1"
    assert call.is_cold
    assert call.cold_phases_ns is not None
    assert sum(call.cold_phases_ns.values()) == 2_000_000_000
    assert phases == ["fork"]


def test_a_cold_call_past_the_hold_limit_is_told_when_to_retry() -> None:
    rig = Rig(cold_hold_s=5.0)
    call = rig.call()
    rig.loop.advance(4.9)
    assert call.outcome is None
    rig.loop.advance(0.2)
    error = error_of(call)
    assert isinstance(error, NotReady)
    assert error.retry_after_s
    assert rig.dispatcher.queue_depth == 0
    assert rig.loop.timers == 0


def test_a_failed_start_tells_everyone_who_waits() -> None:
    rig = Rig()
    calls = [rig.call(), rig.call()]
    rig.dispatcher.fail_waiting(StartFailed("no"))
    assert all(isinstance(error_of(call), StartFailed) for call in calls)


def test_a_full_queue_refuses_at_once() -> None:
    rig = Rig(max_queue_depth=2)
    calls = [rig.call() for _ in range(3)]
    error = error_of(calls[2])
    assert isinstance(error, Overloaded)
    assert error.retry_after_s
    assert calls[0].outcome is None


def test_a_burst_within_one_turn_reaches_the_idle_replica_before_it_fills_the_queue() -> None:
    rig = Rig(max_queue_depth=1)
    rig.dispatcher.attach(fake_replica().link)
    calls = [rig.call(settle=False) for _ in range(3)]
    assert [call.outcome is None for call in calls] == [True, True, False]


def test_interactive_calls_run_before_background_ones() -> None:
    rig = Rig()
    replica = fake_replica()
    rig.dispatcher.attach(replica.link)
    rig.call(b"0")
    rig.call(b"b", priority=Priority.BACKGROUND)
    rig.call(b"i")
    for _ in range(3):
        replica.answer()
    assert replica.bodies == [b"0", b"i", b"b"]


def test_a_call_past_its_deadline_in_the_queue_costs_nothing() -> None:
    rig = Rig()
    replica = fake_replica()
    rig.dispatcher.attach(replica.link)
    rig.call(b"0")
    late = rig.call(b"late", deadline_s=1.0)
    rig.loop.advance(1.1)
    error = error_of(late)
    assert isinstance(error, DeadlineExceeded)
    assert error.phase == "queue"
    replica.answer()
    assert replica.bodies == [b"0"]


def test_a_call_past_timeout_is_told_and_its_replica_replaced() -> None:
    rig = Rig(timeout_s=2.0)
    replica = fake_replica()
    killed: list[str] = []
    replica.link.on_timeout = lambda link: killed.append(link.replica_id)
    rig.dispatcher.attach(replica.link)
    call = rig.call()
    waiting = rig.call(b"next")
    rig.loop.advance(2.1)
    error = error_of(call)
    assert isinstance(error, DeadlineExceeded)
    assert error.phase == "execute"
    assert killed == ["r1"]
    assert waiting.outcome is None
    other = fake_replica("r2")
    rig.dispatcher.attach(other.link)
    rig.loop.settle()
    other.answer()
    assert body_of(waiting) == b"next"


def test_the_callers_deadline_ends_a_running_call_and_leaves_the_replica_alive() -> None:
    rig = Rig()
    replica = fake_replica()
    rig.dispatcher.attach(replica.link)
    call = rig.call(deadline_s=1.0)
    rig.loop.advance(1.1)
    assert isinstance(error_of(call), DeadlineExceeded)
    assert replica.cancelled == [call.call_id]
    replica.answer()
    following = rig.call(b"2")
    replica.answer()
    assert body_of(following) == b"2"


def test_a_cancelled_waiting_call_never_runs() -> None:
    rig = Rig()
    replica = fake_replica()
    rig.dispatcher.attach(replica.link)
    rig.call(b"0")
    gone = rig.call(b"gone")
    cancel = gone.cancel
    assert cancel is not None
    cancel()
    cancel()
    replica.answer()
    rig.loop.settle()
    assert isinstance(error_of(gone), Canceled)
    assert replica.bodies == [b"0"]
    assert rig.ended.count(gone) == 1


def test_a_lost_worker_costs_what_it_ran() -> None:
    rig = Rig()
    replica = fake_replica()
    rig.dispatcher.attach(replica.link)
    call = rig.call()
    replica.die()
    assert isinstance(error_of(call), WorkerLost)


def test_a_lost_workers_calls_run_again_where_they_may() -> None:
    rig = Rig(idempotent=True, retries=Retries(max_attempts=2))
    first, second = fake_replica("a"), fake_replica("b")
    rig.dispatcher.attach(first.link)
    call = rig.call(b"7")
    first.die()
    rig.loop.settle()
    rig.dispatcher.attach(second.link)
    rig.loop.settle()
    second.answer()
    assert body_of(call) == b"7"
    assert call.attempt == 2


def test_one_that_kills_every_worker_uses_its_attempts_up_and_spares_its_mates() -> None:
    rig = Rig(idempotent=True, batch=Batch(max_batch_size=16))
    calls = [rig.call(b"%d" % number) for number in range(16)]
    for number in range(60):
        replica = fake_replica(f"r{number}")
        rig.dispatcher.attach(replica.link)
        rig.loop.settle()
        while replica.executions:
            if b"5" in replica.executions[0].bodies:
                replica.die()
            else:
                replica.answer()
        rig.loop.settle()
    assert isinstance(error_of(calls[5]), WorkerLost)
    assert [body_of(call) for call in calls if call is not calls[5]] == [b"%d" % n for n in range(16) if n != 5]


def test_user_errors_travel_as_data() -> None:
    rig = Rig()
    replica = fake_replica()
    rig.dispatcher.attach(replica.link)
    call = rig.call(b"x")
    replica.answer(bad={b"x"})
    error = error_of(call)
    assert isinstance(error, FunctionError)
    assert (error.error_type, error.error_message, error.remote_traceback) == (
        "builtins.ValueError",
        "bad",
        "Traceback",
    )
    assert rig.dispatcher.stats.errors_by_code == {"function_error": 1}


def test_user_errors_are_retried_when_asked_with_a_bounded_backoff() -> None:
    rig = Rig(retries=Retries(max_attempts=2, initial_delay_s=1.0, on_function_error=True))
    replica = fake_replica()
    rig.dispatcher.attach(replica.link)
    call = rig.call(b"x")
    replica.answer(bad={b"x"})
    rig.loop.advance(0.9)
    assert not replica.executions
    rig.loop.advance(0.2)
    replica.answer()
    assert body_of(call) == b"x"


async def test_a_detached_replica_finishes_and_takes_nothing_new() -> None:
    rig = Rig()
    replica = fake_replica()
    rig.dispatcher.attach(replica.link)
    call = rig.call(b"1")
    rig.dispatcher.detach(replica.link)
    rig.call(b"2")
    replica.answer()
    await rig.dispatcher.drained(replica.link)
    assert body_of(call) == b"1"
    assert not replica.executions
    assert rig.demands == 1


def test_every_new_cold_call_after_a_failure_asks_again() -> None:
    rig = Rig()
    rig.call()
    rig.dispatcher.fail_waiting(StartFailed("no"))
    rig.call()
    assert rig.demands == 2


def test_calls_that_lost_their_only_replica_ask_for_another() -> None:
    rig = Rig(idempotent=True)
    replica = rig.replica()
    rig.call()
    rig.call()
    asked = rig.demands
    replica.die()
    rig.loop.settle()
    assert rig.demands == asked + 1


def test_a_growing_queue_asks_again_and_a_steady_one_does_not() -> None:
    rig = Rig()
    for _ in range(64):
        rig.call()
    assert rig.demands == 7


def test_demand_tells_the_scaler_what_it_needs() -> None:
    rig = Rig()
    idle_s = rig.dispatcher.demand().idle_since_s
    assert idle_s is not None
    replica = rig.replica()
    rig.call()
    rig.call()
    rig.loop.advance(2.0)
    view = rig.dispatcher.demand()
    assert (view.queue_depth, view.in_flight, view.links, view.capacity, view.idle_since_s) == (1, 1, 1, 1, None)
    assert view.oldest_wait_s == 2.0
    replica.answer(execute_ns=500_000_000)
    replica.answer(execute_ns=500_000_000)
    view = rig.dispatcher.demand()
    assert 0.4 < view.mean_duration_s < 0.6
    assert view.idle_since_s == rig.loop.clock.monotonic_s()
