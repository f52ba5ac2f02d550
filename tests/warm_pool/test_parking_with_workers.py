"""Real workers park and wake: their hooks run, and the call after it is right."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from tests.support.pool_rig import LIMIT_S, Bundles, real_backend

from stoker.errors import StartFailed
from stoker_pool.backend import ReplicaOrder
from stoker_pool.parking import SLEEP, WAKE, move
from stoker_pool.plan import RevisionPlan
from stoker_runtime.clock import monotonic_ns
from stoker_runtime.dispatcher import Dispatcher
from stoker_runtime.invocation import Invocation

SOURCE = """
import stoker

class Model:
    @stoker.enter
    def load(self):
        self.weights, self.moves = 3, []
    @stoker.sleep
    def to_host(self):
        self.kept, self.weights = self.weights, None
        self.moves.append("slept")
    @stoker.wake
    {definition} to_device(self):
        self.weights = self.kept
        self.moves.append("woke")
    @stoker.method
    {call_definition} predict(self, x):
        return {result}
"""
SYNC = SOURCE.format(definition="def", call_definition="def", result="[x * self.weights, self.moves]")
ASYNC = SOURCE.format(definition="async def", call_definition="async def", result="[x * self.weights, self.moves]")
BATCHED = SOURCE.format(definition="def", call_definition="def", result="[[v * self.weights, self.moves] for v in x]")
CLUMSY = SYNC.replace("self.kept, self.weights = self.weights, None", "raise RuntimeError('no room in host memory')")


async def called(plan: RevisionPlan, dispatcher: Dispatcher) -> object:
    ended: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()
    dispatcher.submit(Invocation(b'{"x": 2}', "", ended.set_result))
    invocation = await asyncio.wait_for(ended, LIMIT_S)
    assert invocation.outcome is not None
    assert invocation.outcome.error is None, invocation.outcome.error
    return msgspec.json.decode(invocation.outcome.body)


@pytest.mark.parametrize(
    ("source", "options"),
    [
        pytest.param(SYNC, {}, id="sync"),
        pytest.param(ASYNC, {}, id="async"),
        pytest.param(SYNC, {"concurrency": 4}, id="threads"),
        pytest.param(BATCHED, {"batch": {"max_batch_size": 4}}, id="batched"),
    ],
)
async def test_hooks_run_and_calls_go_on(tmp_path: Path, source: str, options: dict[str, object]) -> None:
    bundles = Bundles()
    plan = bundles.plan(source, "Model", **options)
    async with real_backend(tmp_path, bundles) as backend:
        devices = backend.read_devices().devices
        live = await backend.start(ReplicaOrder(plan=plan, replica_id="r1", devices=devices), lambda phase: None)
        dispatcher = Dispatcher(plan.options, 1)
        assert live.parks
        dispatcher.attach(live.link)
        assert await called(plan, dispatcher) == [6, []]
        dispatcher.detach(live.link)
        await dispatcher.drained(live.link)
        await move(live.link, SLEEP, now_ns=monotonic_ns(), limit_s=LIMIT_S)
        await move(live.link, WAKE, now_ns=monotonic_ns(), limit_s=LIMIT_S)
        live.link.is_accepting = True
        dispatcher.attach(live.link)
        assert await called(plan, dispatcher) == [6, ["slept", "woke"]]
        await live.stop(LIMIT_S)


async def test_a_hook_that_raises_is_told_with_its_words(tmp_path: Path) -> None:
    bundles = Bundles()
    plan = bundles.plan(CLUMSY, "Model")
    async with real_backend(tmp_path, bundles) as backend:
        devices = backend.read_devices().devices
        live = await backend.start(ReplicaOrder(plan=plan, replica_id="r1", devices=devices), lambda phase: None)
        with pytest.raises(StartFailed, match="no room in host memory"):
            await move(live.link, SLEEP, now_ns=monotonic_ns(), limit_s=LIMIT_S)
        await live.stop(LIMIT_S)


async def test_callers_cannot_name_the_hooks(tmp_path: Path) -> None:
    bundles = Bundles()
    plan = bundles.plan(SYNC, "Model")
    async with real_backend(tmp_path, bundles) as backend:
        devices = backend.read_devices().devices
        live = await backend.start(ReplicaOrder(plan=plan, replica_id="r1", devices=devices), lambda phase: None)
        dispatcher = Dispatcher(plan.options, 1)
        dispatcher.attach(live.link)
        ended: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()
        dispatcher.submit(Invocation(b"", "", ended.set_result, method=SLEEP))
        invocation = await asyncio.wait_for(ended, LIMIT_S)
        assert invocation.outcome is not None
        assert "no method '@sleep'" in str(invocation.outcome.error)
        await live.stop(LIMIT_S)
