"""Triggers that are changed while their messages run, over a broker that is a list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from stoker_api.internal_calls import CallResult, CallTarget
from stoker_api.stores.sqlite.database import WORK, Database
from stoker_api.stores.sqlite.triggers import SqliteTriggerStore
from stoker_api.triggers.new_trigger import NewTrigger
from stoker_api.triggers.ports import SourceSpec
from stoker_api.triggers.records import Kind, Message, Outgoing
from stoker_api.triggers.triggers import Triggers
from stoker_runtime.clock import SystemClock
from stoker_runtime.invocation import Priority

LIMIT_S = 20.0


class ListBroker:
    """Hands out what is put in; remembers how it was opened."""

    hold_every_s: float | None = None

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[Message] = asyncio.Queue()
        self.limits: list[int] = []

    @asynccontextmanager
    async def open(self, spec: SourceSpec) -> AsyncIterator[ListBroker]:
        self.limits.append(spec.most)
        yield self

    async def receive(self, most: int) -> list[Message]:
        try:
            return [await asyncio.wait_for(self.waiting.get(), 0.01)]
        except (TimeoutError, asyncio.TimeoutError):
            return []

    async def done(self, message: Message) -> None:
        return None

    async def hold(self, messages: Sequence[Message]) -> None:
        return None

    async def publish(self, topic: str, outgoing: Outgoing) -> None:
        return None

    async def lag(self) -> int | None:
        return self.waiting.qsize()


class GatedCalls:
    """Every call waits until the gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.bodies: asyncio.Queue[bytes] = asyncio.Queue()

    async def call(
        self, target: CallTarget, body: bytes, *, content_type: str, priority: Priority, request_id: str
    ) -> CallResult:
        self.bodies.put_nowait(body)
        await self.gate.wait()
        return CallResult(status=200, body=b"1")

    async def next_body(self) -> bytes:
        return await asyncio.wait_for(self.bodies.get(), LIMIT_S)


@asynccontextmanager
async def at_work(folder: Path, broker: ListBroker, calls: GatedCalls) -> AsyncIterator[Triggers]:
    async def check(_: Kind) -> None:
        return None

    async with Database(folder / "work.db", WORK) as database:
        store = SqliteTriggerStore(database)
        async with Triggers(store, calls, b"k" * 32, SystemClock(), broker.open, check, lambda *_: True) as triggers:
            yield triggers


def new(**changes: int) -> NewTrigger:
    return NewTrigger(name="t", function="f", url="redis://h", topic="in", **changes)


async def until_written(triggers: Triggers, name: str) -> None:
    """Whatever was asked for before is: writes are done in their order."""
    other = NewTrigger(name=name, function="f", url="redis://h", topic="in", is_paused=True)
    await triggers.create("default", other)


async def test_a_resume_while_a_pause_lets_messages_end_consumes_again(tmp_path: Path) -> None:
    broker, calls = ListBroker(), GatedCalls()
    async with at_work(tmp_path, broker, calls) as triggers:
        record = await triggers.create("default", new())
        broker.waiting.put_nowait(Message(id="1", body=b"first"))
        assert await calls.next_body() == b"first"
        pausing = asyncio.ensure_future(triggers.change(record, is_paused=True))
        await until_written(triggers, "after-the-pause")
        resuming = asyncio.ensure_future(triggers.change(record, is_paused=False))
        await until_written(triggers, "after-the-resume")
        calls.gate.set()
        await asyncio.wait_for(asyncio.gather(pausing, resuming), LIMIT_S)
        broker.waiting.put_nowait(Message(id="2", body=b"second"))
        assert await calls.next_body() == b"second"
        assert not triggers.get("default", "t").is_paused


async def test_new_limits_are_those_of_the_next_connection_and_counts_go_on(tmp_path: Path) -> None:
    broker, calls = ListBroker(), GatedCalls()
    calls.gate.set()
    async with at_work(tmp_path, broker, calls) as triggers:
        record = await triggers.create("default", new(max_in_flight=2))
        broker.waiting.put_nowait(Message(id="1", body=b"first"))
        assert await calls.next_body() == b"first"
        changed = await triggers.change(record, max_in_flight=5)
        assert (changed.max_in_flight, changed.max_attempts) == (5, 3)
        broker.waiting.put_nowait(Message(id="2", body=b"second"))
        assert await calls.next_body() == b"second"
        assert broker.limits == [2, 5]
        assert triggers.stats(record).consumed == 2
    async with at_work(tmp_path, broker, calls) as triggers:
        assert triggers.get("default", "t").max_in_flight == 5
