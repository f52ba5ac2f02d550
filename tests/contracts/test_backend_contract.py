"""What every backend keeps: one suite over real workers and over the backend in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.fake_backend import FakeBackend
from tests.support.pool_rig import LIMIT_S, Bundles, real_backend

from stoker.errors import StartFailed
from stoker_pool.backend import Backend, ReplicaOrder
from stoker_pool.devices import DeviceKind
from stoker_runtime.dispatcher import Dispatcher
from stoker_runtime.invocation import Invocation

BROKEN = "raise RuntimeError('no weights')\n\ndef broken(x):\n    return x\n"


@pytest.fixture
def bundles() -> Bundles:
    return Bundles()


@pytest.fixture(params=["memory", "local"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path, bundles: Bundles) -> AsyncIterator[Backend]:
    if request.param == "memory":
        yield FakeBackend()
    else:
        async with real_backend(tmp_path, bundles) as local:
            yield local


def order_for(backend: Backend, bundles: Bundles, replica_id: str = "double-1", **changes: object) -> ReplicaOrder:
    devices = tuple(device for device in backend.read_devices().devices if device.kind is DeviceKind.CPU)
    plan = bundles.plan(**changes)  # type: ignore[arg-type]
    return ReplicaOrder(plan=plan, replica_id=replica_id, devices=devices)


async def test_there_is_a_cpu_with_a_budget(backend: Backend) -> None:
    reading = backend.read_devices()
    assert [device.memory_bytes > 0 for device in reading.devices if device.kind is DeviceKind.CPU] == [True]


async def test_a_started_replica_tells_what_the_start_took(backend: Backend, bundles: Bundles) -> None:
    phases: list[str] = []
    replica = await backend.start(order_for(backend, bundles), phases.append)
    assert phases[0] == "place"
    assert list(replica.phases_ns)[:3] == ["place", "zygote", "fork"]
    assert all(took_ns >= 0 for took_ns in replica.phases_ns.values())
    assert replica.memory_bytes > 0
    assert replica.memory_now_bytes() > 0
    assert replica.pid > 0
    assert replica.schema_json
    assert replica.link.replica_id == "double-1"
    await replica.stop(LIMIT_S)
    replica.link.close()


async def test_a_started_replica_answers_calls(backend: Backend, bundles: Bundles) -> None:
    order = order_for(backend, bundles)
    replica = await backend.start(order, lambda phase: None)
    dispatcher = Dispatcher(order.plan.options, 1)
    dispatcher.attach(replica.link)
    ended: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()
    dispatcher.submit(Invocation(b"21", "", ended.set_result))
    await asyncio.sleep(0)
    if isinstance(backend, FakeBackend):
        backend.answer_all()
    invocation = await asyncio.wait_for(ended, LIMIT_S)
    assert invocation.outcome is not None
    assert invocation.outcome.error is None
    dispatcher.detach(replica.link)
    await replica.stop(LIMIT_S)
    replica.link.close()


async def test_a_stopped_replica_is_gone_with_a_reason(backend: Backend, bundles: Bundles) -> None:
    replica = await backend.start(order_for(backend, bundles), lambda phase: None)
    await replica.stop(LIMIT_S)
    assert await asyncio.wait_for(replica.wait_exit(), LIMIT_S)
    replica.kill()
    replica.link.close()


async def test_a_killed_replica_is_gone_for_everyone_who_waits(backend: Backend, bundles: Bundles) -> None:
    replica = await backend.start(order_for(backend, bundles), lambda phase: None)
    waits = [asyncio.ensure_future(replica.wait_exit()) for _ in range(3)]
    replica.kill()
    reasons = await asyncio.wait_for(asyncio.gather(*waits), LIMIT_S)
    assert len(set(reasons)) == 1
    replica.link.close()


async def test_a_start_that_fails_raises_and_leaves_room_for_the_next(backend: Backend, bundles: Bundles) -> None:
    if isinstance(backend, FakeBackend):
        backend.failures = [StartFailed("RuntimeError: no weights")]
    with pytest.raises(StartFailed, match="no weights"):
        await backend.start(order_for(backend, bundles, source=BROKEN, handler="broken"), lambda phase: None)
    replica = await backend.start(order_for(backend, bundles), lambda phase: None)
    await replica.stop(LIMIT_S)
    replica.link.close()


async def test_prewarming_starts_no_replica(backend: Backend, bundles: Bundles) -> None:
    await backend.prewarm(bundles.plan())
    if isinstance(backend, FakeBackend):
        assert backend.replicas == []
    phases: list[str] = []
    replica = await backend.start(order_for(backend, bundles), phases.append)
    assert "zygote" not in phases
    await replica.stop(LIMIT_S)
    replica.link.close()
