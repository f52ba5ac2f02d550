"""A trigger over every broker: results before acknowledgements, dead letters, bounds, and connections that break."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from tests.support.brokers import BROKERS, Broker

from stoker.errors import FunctionError, Overloaded, PlatformError
from stoker_api.gateway.problems import problem
from stoker_api.internal_calls import CallResult, CallTarget
from stoker_api.triggers.address import kind_of
from stoker_api.triggers.brokers.opening import open_source
from stoker_api.triggers.consumer import Consumer
from stoker_api.triggers.new_trigger import NewTrigger, record_of
from stoker_api.triggers.ports import Source, SourceSpec
from stoker_api.triggers.records import Message, Outgoing, TriggerState
from stoker_runtime.clock import SystemClock
from stoker_runtime.invocation import Priority

LIMIT_S = 30.0
_numbers = count()
Answer = Callable[[bytes], CallResult]


class Calls:
    """Functions as a test has them answer; counts how many run at once."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.gate = asyncio.Event()
        self.gate.set()
        self.started = asyncio.Event()
        self.running = self.most = 0
        self.bodies: list[bytes] = []
        self.priorities: set[Priority] = set()

    async def until_running(self, number: int) -> None:
        async def seen() -> None:
            while self.running < number:
                self.started.clear()
                await self.started.wait()

        await asyncio.wait_for(seen(), LIMIT_S)

    async def call(
        self, target: CallTarget, body: bytes, *, content_type: str, priority: Priority, request_id: str
    ) -> CallResult:
        self.bodies.append(body)
        self.priorities.add(priority)
        self.running += 1
        self.most = max(self.most, self.running)
        self.started.set()
        try:
            await self.gate.wait()
            return self.answer(body)
        finally:
            self.running -= 1


def doubled(body: bytes) -> CallResult:
    return CallResult(status=200, body=b"%d" % (2 * int(body)))


def failing(error: PlatformError, *, ran: bool) -> CallResult:
    return CallResult(status=error.status, problem=problem(error, request_id="r"), ran=ran, retryable=error.retryable)


@pytest.fixture(scope="module", params=BROKERS)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One of each kind for all tests."""
    found = BROKERS[request.param](Path(tmp_path_factory.mktemp(request.param)))
    found.start()
    yield found
    found.kill()


@pytest.fixture(params=["redis", "nats"])
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """One that a test may break; not RabbitMQ, which takes long to start."""
    found = BROKERS[request.param](tmp_path)
    yield found
    found.kill()


class Trigger:
    """A consumer that runs, and a second connection beside it."""

    def __init__(self, broker: Broker, calls: Calls, number: int, **options: int) -> None:
        new = NewTrigger(
            name=f"t{number}", function="double", url=broker.url, topic=f"in{number}", results=f"out{number}", **options
        )
        kind = kind_of(broker.url)
        record = record_of(new, kind, trigger_id="trig_1", namespace="default", sealed=b"", now_s=0.0)
        self.spec = SourceSpec(
            kind=kind,
            url=broker.url,
            topic=record.topic,
            group=record.group,
            consumer="stoker",
            start=record.start,
            most=record.max_in_flight,
            targets=(record.results, record.dead_letters),
        )
        self.record = record
        self.consumer = Consumer(record, self.spec, open_source, calls, SystemClock(), str)
        self.states: asyncio.Queue[TriggerState] = asyncio.Queue()
        self.consumer.on_state = self.states.put_nowait

    async def until(self, state: TriggerState) -> None:
        """The next time that it enters ``state``."""

        async def seen() -> None:
            while await self.states.get() is not state:
                pass

        await asyncio.wait_for(seen(), LIMIT_S)

    async def put(self, source: Source, *bodies: bytes) -> None:
        for body in bodies:
            await source.publish(self.spec.topic, Outgoing(body=body, content_type="application/json", headers={}))

    @contextlib.asynccontextmanager
    async def beside(self, topic: str) -> AsyncIterator[Source]:
        """Somebody else, who reads ``topic``."""
        spec = SourceSpec(
            kind=self.spec.kind,
            url=self.spec.url,
            topic=topic,
            group=f"{self.spec.group}-beside",
            consumer="beside",
            start=self.spec.start,
            most=100,
            targets=(self.spec.topic,),
        )
        async with open_source(spec) as source:
            yield source

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.ensure_future(self.consumer.run())
        try:
            yield task
        finally:
            self.consumer.stop()
            await asyncio.wait({task}, timeout=LIMIT_S)
            assert task.done()
            if not task.cancelled():
                task.result()


async def read(source: Source, number: int) -> list[Message]:
    found: list[Message] = []

    async def enough() -> None:
        while len(found) < number:
            for message in await source.receive(number - len(found)):
                found.append(message)
                await source.done(message)

    await asyncio.wait_for(enough(), LIMIT_S)
    return found


async def read_all(source: Source, bodies: set[bytes]) -> None:
    """Until each has come, some perhaps twice: it is at least once."""
    while bodies:
        (message,) = await read(source, 1)
        bodies.discard(message.body)


async def test_results_go_to_their_topic_at_background_priority(broker: Broker) -> None:
    calls = Calls(doubled)
    trigger = Trigger(broker, calls, next(_numbers))
    async with trigger.beside(trigger.record.results) as other, trigger.running():
        await trigger.put(other, *(b"%d" % number for number in range(20)))
        results = await read(other, 20)
    assert sorted(int(message.body) for message in results) == list(range(0, 40, 2))
    assert all(message.headers["stoker-message-id"] for message in results)
    assert calls.priorities == {Priority.BACKGROUND}
    assert trigger.consumer.stats.succeeded == 20


async def test_a_poison_message_becomes_a_dead_letter_and_the_others_go_on(broker: Broker) -> None:
    def answer(body: bytes) -> CallResult:
        return failing(FunctionError("no thirteen"), ran=True) if body == b"13" else doubled(body)

    calls = Calls(answer)
    trigger = Trigger(broker, calls, next(_numbers), max_attempts=2)
    async with trigger.beside(trigger.record.dead_letters) as dead, trigger.beside(trigger.record.results) as other:
        async with trigger.running():
            await trigger.put(other, b"13", b"1", b"2", b"3")
            assert sorted(message.body for message in await read(other, 3)) == [b"2", b"4", b"6"]
            (letter,) = await read(dead, 1)
    document = json.loads(letter.body)
    assert document["problem"]["code"] == "function_error"
    assert document["message"]["body"] == "13"
    assert (document["attempts"], calls.bodies.count(b"13")) == (2, 2)


async def test_what_was_not_done_when_all_was_killed_is_run_again(broker: Broker) -> None:
    calls = Calls(doubled)
    number = next(_numbers)
    first, second = Trigger(broker, calls, number), Trigger(broker, calls, number)
    async with first.beside(first.record.results) as other:
        calls.gate.clear()
        async with first.running() as task:
            await first.put(other, b"1", b"2", b"3")
            await calls.until_running(3)
            task.cancel()
        calls.gate.set()
        async with second.running():
            await read_all(other, {b"2", b"4", b"6"})
    assert len(calls.bodies) >= 6


async def test_no_more_run_at_once_than_are_allowed(broker: Broker) -> None:
    calls = Calls(doubled)
    trigger = Trigger(broker, calls, next(_numbers), max_in_flight=4)
    async with trigger.beside(trigger.record.results) as other, trigger.running():
        await trigger.put(other, *[b"1"] * 30)
        await read(other, 30)
    assert calls.most <= 4


async def test_a_function_that_is_full_stops_the_fetching_and_costs_no_attempt(broker: Broker) -> None:
    is_full = True

    def answer(body: bytes) -> CallResult:
        return failing(Overloaded("full"), ran=False) if is_full else doubled(body)

    calls = Calls(answer)
    trigger = Trigger(broker, calls, next(_numbers), max_in_flight=2, max_attempts=1)
    async with trigger.beside(trigger.record.results) as other, trigger.running():
        await trigger.put(other, *[b"1"] * 10)
        await trigger.until(TriggerState.WAITING)
        assert trigger.consumer.reason == "full"
        assert trigger.consumer.stats.consumed <= 2
        is_full = False
        await read(other, 10)
    assert trigger.consumer.stats.dead_lettered == 0


async def test_stop_lets_what_runs_end(broker: Broker) -> None:
    calls = Calls(doubled)
    trigger = Trigger(broker, calls, next(_numbers))
    async with trigger.beside(trigger.record.results) as other:
        calls.gate.clear()
        async with trigger.running() as task:
            await trigger.put(other, b"4")
            await calls.until_running(1)
            trigger.consumer.stop()
            calls.gate.set()
            await asyncio.wait_for(task, LIMIT_S)
        assert [message.body for message in await read(other, 1)] == [b"8"]
    async with open_source(trigger.spec) as source:
        assert await source.receive(1) == []


async def test_a_broker_that_comes_late_is_found(own_broker: Broker) -> None:
    calls = Calls(doubled)
    trigger = Trigger(own_broker, calls, next(_numbers))
    async with trigger.running():
        await trigger.until(TriggerState.DISCONNECTED)
        assert trigger.consumer.reason
        await asyncio.to_thread(own_broker.start)
        await trigger.until(TriggerState.CONSUMING)
        async with trigger.beside(trigger.record.results) as other:
            await trigger.put(other, b"2")
            assert [message.body for message in await read(other, 1)] == [b"4"]


@pytest.mark.slow
async def test_a_broker_that_falls_silent_is_taken_for_lost(own_broker: Broker) -> None:
    await asyncio.to_thread(own_broker.start)
    trigger = Trigger(own_broker, Calls(doubled), next(_numbers))
    async with trigger.running() as task:
        await trigger.until(TriggerState.CONSUMING)
        own_broker.freeze()
        await trigger.until(TriggerState.DISCONNECTED)
        task.cancel()


async def test_a_broker_that_dies_in_the_middle_loses_nothing(own_broker: Broker) -> None:
    await asyncio.to_thread(own_broker.start)
    calls = Calls(doubled)
    trigger = Trigger(own_broker, calls, next(_numbers))
    async with trigger.running():
        await trigger.until(TriggerState.CONSUMING)
        calls.gate.clear()
        async with trigger.beside(trigger.record.results) as other:
            await trigger.put(other, b"2", b"3")
        await calls.until_running(2)
        await asyncio.to_thread(own_broker.kill)
        calls.gate.set()
        await trigger.until(TriggerState.DISCONNECTED)
        await asyncio.to_thread(own_broker.start)
        await trigger.until(TriggerState.CONSUMING)
        async with trigger.beside(trigger.record.results) as other:
            await read_all(other, {b"4", b"6"})
