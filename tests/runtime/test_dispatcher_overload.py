"""Open-loop load at three times the capacity, under virtual time."""

from __future__ import annotations

from collections import deque

import pytest
from tests.support.dispatch_rig import Rig, error_of

from stoker.options import Batch
from stoker_runtime.invocation import Invocation

RUN_S = 30.0
TICK_S = 0.002


@pytest.mark.parametrize("declares_deadline", [True, False], ids=["deadlines declared", "callers just leave"])
@pytest.mark.parametrize(
    ("options", "execution_s", "per_item_s", "per_s"),
    [
        pytest.param({}, 0.010, 0.0, 100.0, id="one by one"),
        pytest.param({"batch": Batch(max_batch_size=32)}, 0.010, 0.005, 188.0, id="batched"),
    ],
)
def test_goodput_stays_near_capacity(
    options: dict[str, object], execution_s: float, per_item_s: float, per_s: float, declares_deadline: bool
) -> None:
    rig = Rig(**options)
    replica = rig.replica()
    patience_s = 5.0
    waiting: deque[tuple[float, Invocation]] = deque()
    calls: list[Invocation] = []
    owed, busy_until_s, elapsed_s, idle_ticks = 0.0, 0.0, 0.0, 0
    while elapsed_s < RUN_S:
        rig.loop.advance(TICK_S)
        elapsed_s += TICK_S
        owed += 3 * per_s * TICK_S
        while owed >= 1:
            owed -= 1
            call = rig.call(b"1", deadline_s=patience_s if declares_deadline else 0.0, settle=False)
            calls.append(call)
            waiting.append((elapsed_s + patience_s, call))
        while waiting and waiting[0][0] <= elapsed_s:
            leave = waiting.popleft()[1].cancel
            if leave is not None:
                leave()
        rig.loop.settle()
        idle_ticks += not replica.executions
        if replica.executions and not busy_until_s:
            busy_until_s = elapsed_s + execution_s + per_item_s * len(replica.executions[0].bodies)
        if busy_until_s and busy_until_s <= elapsed_s:
            replica.answer(execute_ns=int(execution_s * 1e9))
            busy_until_s = 0.0
            rig.loop.settle()
            if replica.executions:
                busy_until_s = elapsed_s + execution_s + per_item_s * len(replica.executions[0].bodies)
    ended = [call for call in calls if call.outcome is not None]
    good = sum(error_of(call) is None for call in ended)
    codes = {error.code for call in ended if (error := error_of(call)) is not None}
    assert good >= 0.9 * len(replica.bodies)
    assert idle_ticks * TICK_S < 0.02 * RUN_S
    assert codes <= {"overloaded", "deadline_exceeded", "canceled"}
