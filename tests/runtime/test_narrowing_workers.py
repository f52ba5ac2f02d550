"""Dispatcher and workers narrow a failed batch down together, in virtual time."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.dispatch_rig import Rig, body_of, error_of
from tests.support.narrowing_worker import NarrowingWorker

from stoker.errors import FunctionError
from stoker.options import Batch
from stoker_runtime import batch_run, execution


class Load:
    """64 callers that ask again as soon as they are answered; a bad item is a negative one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, bad_share: float) -> None:
        self.rig = Rig(batch=Batch(max_batch_size=32))
        self.clock = self.rig.loop.clock
        for module in (batch_run, execution):
            monkeypatch.setattr(module, "monotonic_ns", lambda: int(self.clock.monotonic_s() * 1e9))
        self._chance, self._bad_share, self._asked = random.Random(5), bad_share, 0
        self._worker = NarrowingWorker(self.rig.replica(), self._check)

    def rate(self, seconds: float) -> float:
        """Answers per second of virtual time."""
        self._ask(64)
        until_s, before = self.clock.monotonic_s() + seconds, len(self.rig.ended)
        while self.clock.monotonic_s() < until_s:
            ended = len(self.rig.ended)
            self.clock.advance(0.0002)
            self._worker.answer()
            self._ask(len(self.rig.ended) - ended)
        return (len(self.rig.ended) - before) / seconds

    def _check(self, items: list[int]) -> list[int]:
        self.clock.advance(0.0001)
        if min(items) < 0:
            raise ValueError("a negative item")
        self.clock.advance(0.004 + 0.0005 * len(items))
        return items

    def _ask(self, calls: int) -> None:
        for _ in range(calls):
            self._asked += 1
            sign = "-" if self._chance.random() < self._bad_share else ""
            self.rig.call(b'{"x":%s%d}' % (sign.encode(), self._asked), settle=False)
        self.rig.loop.settle()


def test_one_bad_item_in_fifty_costs_less_than_a_fifth_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = Load(monkeypatch, 0.0).rate(5.0)
    mixed = Load(monkeypatch, 0.02)
    assert mixed.rate(5.0) >= 0.8 * clean
    for call in mixed.rig.ended:
        assert (error_of(call) is not None) == (b"-" in call.body)


@given(
    bad=st.lists(st.booleans(), min_size=1, max_size=80),
    dear=st.booleans(),
    max_batch_size=st.integers(1, 16),
    arrivals=st.lists(st.integers(1, 20), max_size=8),
    lost=st.sets(st.integers(0, 30), max_size=3),
)
@settings(max_examples=80, deadline=None)
def test_every_call_gets_its_own_answer(
    bad: list[bool], dear: bool, max_batch_size: int, arrivals: list[int], lost: set[int]
) -> None:
    """Batches fail at once or after the work; replicas are lost in between."""
    rig = Rig(batch=Batch(max_batch_size=max_batch_size), idempotent=True, max_queue_depth=500)
    limit_ns, batch_run._AT_ONCE_NS = batch_run._AT_ONCE_NS, 0 if dear else 10**12  # type: ignore[misc]
    runs, largest = 0, 0

    def check(items: list[int]) -> list[int]:
        nonlocal runs, largest
        runs, largest = runs + 1, max(largest, len(items))
        if min(items) < 0:
            raise ValueError("a negative item")
        return items

    try:
        replica = rig.replica()
        values = [-number - 1 if is_bad else number for number, is_bad in enumerate(bad)]
        calls, steps, turn = [], [*arrivals, len(bad)], 0
        while len(rig.ended) < len(values):
            count = steps.pop(0) if steps else 0
            calls += [rig.call(b'{"x":%d}' % value) for value in values[len(calls) : len(calls) + count]]
            turn += 1
            if turn in lost:
                replica.die()
                replica = rig.replica(f"r{turn}")
            if replica.executions:
                NarrowingWorker(replica, check).answer()
            rig.loop.settle()
    finally:
        batch_run._AT_ONCE_NS = limit_ns  # type: ignore[misc]
    failed = [call for call in calls if error_of(call) is not None]
    assert all(b"-" in call.body or not isinstance(error_of(call), FunctionError) for call in failed)
    assert len(failed) <= sum(bad) + len(lost) * 2 * max_batch_size
    assert all(body_of(call) == call.body[5:-1] for call in calls if call not in failed)
    assert len(rig.ended) == len(calls) == len(bad)
    assert rig.dispatcher.queue_depth == 0
    assert largest <= max_batch_size
    assert runs <= 4 + len(bad) + len(lost) * 20 + sum(bad) * 4 * (1 + max_batch_size.bit_length())
