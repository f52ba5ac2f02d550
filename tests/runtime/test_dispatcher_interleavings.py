"""Whatever happens, in whatever order: every call ends exactly once, and nothing stays behind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.dispatch_rig import Rig
from tests.support.fake_replica import FakeReplica

from stoker.errors import NotReady
from stoker.options import Batch, Retries
from stoker_runtime.invocation import Invocation, Priority

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["call", "call", "call", "answer", "answer", "cancel", "die", "attach", "detach", "wait", "late", "fail"]
        ),
        st.integers(0, 1000),
    ),
    min_size=5,
    max_size=80,
)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="plain"),
        pytest.param({"idempotent": True, "retries": Retries(max_attempts=2)}, id="idempotent"),
        pytest.param({"batch": Batch(max_batch_size=4), "idempotent": True}, id="batched"),
        pytest.param({"batch": Batch(max_batch_size=4, batch_timeout_ms=50, latency_target_ms=20)}, id="waiting"),
        pytest.param({"concurrency": 3, "idempotent": True}, id="concurrent"),
        pytest.param({"coalesce": True, "max_queue_depth": 5}, id="coalesced"),
        pytest.param(
            {"retries": Retries(max_attempts=3, initial_delay_s=0.5, on_function_error=True), "idempotent": True},
            id="delayed retries",
        ),
    ],
)
@given(steps=STEPS)
@settings(max_examples=40, deadline=None)
def test_every_call_ends_exactly_once(options: dict[str, object], steps: list[tuple[str, int]]) -> None:
    rig = Rig(cold_hold_s=30.0, timeout_s=10.0, **options)
    calls, replicas = [], list[FakeReplica]()
    for number, (step, pick) in enumerate(steps):
        ready = [replica for replica in replicas if not replica.link.is_lost]
        busy = [replica for replica in ready if replica.executions]
        if step == "call":
            calls.append(rig.call(b"%d" % (pick % 7), priority=Priority(pick % 2), settle=bool(pick % 3)))
        elif step == "late":
            calls.append(rig.call(b"%d" % (pick % 7), deadline_s=0.2 + pick / 100))
        elif step == "attach":
            replicas.append(rig.replica(f"r{number}"))
        elif step == "answer" and busy:
            busy[pick % len(busy)].answer({b"3"})
        elif step == "cancel" and calls:
            cancel = calls[pick % len(calls)].cancel
            if cancel is not None:
                cancel()
        elif step == "die" and ready:
            ready[pick % len(ready)].die()
        elif step == "detach" and ready:
            rig.dispatcher.detach(ready[pick % len(ready)].link)
        elif step == "wait":
            rig.loop.advance(pick / 100)
        elif step == "fail":
            rig.dispatcher.fail_waiting(NotReady("no"))
        if pick % 2:
            rig.loop.settle()
    rig.loop.advance(200.0)
    assert sorted(map(id, rig.ended)) == sorted(map(id, calls))
    assert all(call.outcome is not None for call in calls)
    view = rig.dispatcher.demand()
    assert view.queue_depth == 0
    assert view.idle_since_s is not None
    assert rig.dispatcher.stats.calls == len(calls)


@given(steps=STEPS, coalesce=st.booleans(), batched=st.booleans())
@settings(max_examples=60, deadline=None)
def test_callers_that_act_while_being_told_break_nothing(
    steps: list[tuple[str, int]], coalesce: bool, batched: bool
) -> None:
    """Each end makes another call leave, and now and then a new one come."""
    rig = Rig(
        cold_hold_s=5.0,
        timeout_s=10.0,
        coalesce=coalesce,
        idempotent=True,
        batch=Batch(max_batch_size=3) if batched else None,
        max_queue_depth=6,
    )
    calls = []

    def meddle(invocation: Invocation) -> None:
        rig.ended.append(invocation)
        victim = calls[len(rig.ended) * 7 % len(calls)] if calls else None
        if victim is not None and victim.cancel is not None:
            victim.cancel()
        if len(calls) < 100 and len(rig.ended) % 3 == 0:
            submit(len(calls))

    def submit(number: int) -> None:
        now_ns = rig.dispatcher.now_ns()
        deadline_ns = now_ns + 10**9 if number % 4 == 0 else 0
        invocation = Invocation(b"%d" % (number % 9), "", meddle, accepted_ns=now_ns, deadline_ns=deadline_ns)
        calls.append(invocation)
        rig.dispatcher.submit(invocation)

    replicas = list[FakeReplica]()
    for number, (step, pick) in enumerate(steps):
        ready = [replica for replica in replicas if not replica.link.is_lost]
        busy = [replica for replica in ready if replica.executions]
        if step in ("call", "late", "cancel"):
            submit(pick)
        elif step == "attach":
            replicas.append(rig.replica(f"r{number}"))
        elif step == "answer" and busy:
            busy[pick % len(busy)].answer({b"3"})
        elif step == "die" and ready:
            ready[pick % len(ready)].die()
        elif step == "wait":
            rig.loop.advance(pick / 200)
        elif step == "fail":
            rig.dispatcher.fail_waiting(NotReady("no"))
        if pick % 2:
            rig.loop.settle()
    rig.loop.advance(300.0)
    assert sorted(map(id, rig.ended)) == sorted(map(id, calls))
    assert rig.dispatcher.demand().queue_depth == 0
    assert rig.dispatcher.demand().idle_since_s is not None
