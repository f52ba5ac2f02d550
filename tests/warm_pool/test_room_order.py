"""Room goes to who waited for it longest."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.fake_backend import FakeBackend, cpu_of
from tests.support.pool_rig import Bundles, fake_pool, submit

from stoker_pool.devices import MIB, DeviceReading
from stoker_pool.ledger import DeviceLedger
from stoker_pool.placement import Need, NoRoom, Placement
from stoker_pool.plan import RevisionPlan
from stoker_pool.room import RoomKeeper

SOURCE = "def f(x):\n    return x\n"


@dataclass
class Waiting:
    """Someone with calls who wants room."""

    plan: RevisionPlan
    live_count: int = 0
    is_pressed: bool = True
    waited_s: float = 0.0
    prewarm_per_s: float | None = None
    load_s: float = 1.0
    times_woken: int = 0

    def wake(self) -> None:
        self.times_woken += 1


async def test_room_that_is_owed_cannot_be_taken_back_by_who_asks_first() -> None:
    ledger = DeviceLedger([cpu_of(700)])
    room = RoomKeeper(ledger, lambda: (), lambda: DeviceReading(devices=()))
    plan = Bundles().plan(SOURCE, "f")
    earlier, later = Waiting(plan), Waiting(plan)
    need = Need(memory_bytes=400 * MIB)
    assert isinstance(ledger.acquire("there", need), Placement)
    assert isinstance(room.acquire(earlier, "earlier", need), NoRoom)

    room.release("there")

    assert isinstance(room.acquire(later, "later", need), NoRoom)
    assert earlier.times_woken == 1
    assert isinstance(room.acquire(later, "small", Need(memory_bytes=300 * MIB)), Placement)  # both find room
    assert isinstance(room.acquire(earlier, "earlier", need), Placement)


async def test_a_retired_revision_serves_the_calls_it_was_left_with_before_it_makes_way() -> None:
    bundles, backend = Bundles(), FakeBackend(cpu_of(700))
    scaling = {"min_replicas": 1, "max_replicas": 1}
    old, new = (bundles.plan(SOURCE, "f", number, memory_mib=400, scaling=scaling) for number in (1, 2))
    async with fake_pool(backend) as (pool, timers):
        calls = [submit(pool, old) for _ in range(8)]
        await timers.advance(0.5)
        pool.retire("default", "f", {2})
        calls += [submit(pool, new) for _ in range(8)]
        for _ in calls:
            backend.answer_all()
            await timers.advance(0.5)
        assert [call for call in calls if not call.done()] == []
        assert [order.plan.number for order in backend.orders] == [1, 2]


async def test_calls_that_pin_an_old_revision_do_not_keep_the_new_one_out() -> None:
    bundles, backend = Bundles(), FakeBackend(cpu_of(700))
    scaling = {"max_replicas": 1}
    old, new = (bundles.plan(SOURCE, "f", number, memory_mib=400, scaling=scaling) for number in (1, 2))
    async with fake_pool(backend) as (pool, timers):
        pool.retire("default", "f", {2})
        calls = [submit(pool, old) for _ in range(4)]
        await timers.settle()
        waiting = [submit(pool, new)]
        for _ in range(20):
            calls += [submit(pool, old), submit(pool, old)]
            waiting.append(submit(pool, new))
            backend.answer_all()
            await timers.advance(0.5)
        assert waiting[0].done()
        assert len(backend.orders) > 1
