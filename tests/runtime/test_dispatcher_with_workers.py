"""The dispatcher against real worker processes: what the fakes assume of a worker holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from tests.support.worker_starts import LIMIT_S, order_for

from stoker.errors import DeadlineExceeded, FunctionError, WorkerLost
from stoker_runtime.dispatcher import Dispatcher
from stoker_runtime.invocation import Invocation
from stoker_runtime.receipt import receipt
from stoker_runtime.replica_link import ReplicaLink
from stoker_runtime.replica_process import ReplicaProcess
from stoker_runtime.worker_factory import WorkerFactory

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Served:
    """One function, its dispatcher, and a way to add replicas."""

    def __init__(self, factory: WorkerFactory, folder: Path, source: str, handler: str, **options: object) -> None:
        self.order = order_for(source, handler, folder, **options)
        self.dispatcher = Dispatcher(self.order.options, 1)
        self.replicas: list[ReplicaProcess] = []
        self.links: list[ReplicaLink] = []
        self._factory = factory

    async def add_replica(self) -> ReplicaLink:
        order = replace(self.order, replica_id=f"{self.order.handler}-{len(self.replicas)}")
        process = await self._factory.start(order)
        self.replicas.append(process)
        link = await ReplicaLink.open(
            process.socket,
            order.replica_id,
            concurrency=self.order.options.concurrency,
            on_timeout=lambda link: process.kill(),
            journal=process.journal,
        )
        self.links.append(link)
        self.dispatcher.attach(link)
        return link

    def submit(self, value: object, **fields: object) -> asyncio.Future[Invocation]:
        future: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()
        invocation = Invocation(msgspec.json.encode(value), "", future.set_result)
        for name, field in fields.items():
            setattr(invocation, name, field)
        self.dispatcher.submit(invocation)
        return future

    async def ends(self, *futures: asyncio.Future[Invocation]) -> list[Invocation]:
        return await asyncio.wait_for(asyncio.gather(*futures), LIMIT_S)

    async def close(self) -> None:
        for link in self.links:
            link.close()
        for process in self.replicas:
            process.kill()
            await process.wait_exit()


Serve = Callable[..., Awaitable[Served]]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def factory(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WorkerFactory]:
    async with WorkerFactory(tmp_path_factory.mktemp("factory")) as factory:
        yield factory


@pytest_asyncio.fixture(loop_scope="module")
async def serve(factory: WorkerFactory, tmp_path: Path) -> AsyncIterator[Serve]:
    all_served: list[Served] = []

    async def serve(source: str, handler: str, **options: object) -> Served:
        served = Served(factory, tmp_path, source, handler, **options)
        all_served.append(served)
        await served.add_replica()
        return served

    yield serve
    for served in all_served:
        await served.close()


def value_of(invocation: Invocation) -> object:
    assert invocation.outcome is not None
    assert invocation.outcome.error is None, invocation.outcome.error
    return msgspec.json.decode(invocation.outcome.body)


def error_of(invocation: Invocation) -> object:
    assert invocation.outcome is not None
    return invocation.outcome.error


async def test_a_burst_of_calls_is_answered_in_order(serve: Serve) -> None:
    served = await serve("def double(x): return x * 2", "double", max_queue_depth=5000)
    for _ in range(3):
        done = await served.ends(*[served.submit(number) for number in range(500)])
        assert [value_of(invocation) for invocation in done] == [number * 2 for number in range(500)]
    phases = receipt(done[-1]).phases_ms
    assert phases["execute"] > 0
    assert phases["total"] > 0


async def test_exactly_the_bad_items_of_a_batch_fail(serve: Serve) -> None:
    source = "def check(x):\n    if any(item < 0 for item in x): raise ValueError('negative')\n    return x"
    served = await serve(source, "check", batch={"max_batch_size": 16})
    values = [-number if number in (3, 20, 21) else number for number in range(40)]
    done = await served.ends(*[served.submit(value) for value in values])
    assert [isinstance(error_of(invocation), FunctionError) for invocation in done] == [value < 0 for value in values]
    assert any(invocation.batch_size > 1 for invocation in done)


async def test_a_crash_costs_the_running_call_alone(serve: Serve) -> None:
    source = "import os\ndef risky(x):\n    if x == 7: os._exit(3)\n    return x"
    served = await serve(source, "risky", max_queue_depth=5000)
    await served.ends(*[served.submit(0) for _ in range(50)])  # learn that calls are short: they are sent ahead
    futures = [served.submit(number) for number in range(20)]
    lost = (await served.ends(futures[7]))[0]
    await served.add_replica()
    done = await served.ends(*futures)
    assert isinstance(error_of(lost), WorkerLost)
    assert [value_of(call) for call in done if call is not lost] == [number for number in range(20) if number != 7]


async def test_a_call_killed_between_others_leaves_each_of_them_run_once(serve: Serve, tmp_path: Path) -> None:
    source = (
        "import os, signal\ndef note(x, log):\n"
        "    file = os.open(log, os.O_WRONLY | os.O_APPEND)\n    os.write(file, b'%d\\n' % x)\n    os.close(file)\n"
        "    if x == 30: os.kill(os.getpid(), signal.SIGKILL)\n    return x"
    )
    log = tmp_path / "ran"
    log.touch(0o666)
    tmp_path.chmod(0o777)
    log.chmod(0o666)
    served = await serve(source, "note", max_queue_depth=5000)
    await served.ends(*[served.submit({"x": -1, "log": str(log)}) for _ in range(50)])
    futures = [served.submit({"x": number, "log": str(log)}) for number in range(60)]
    await served.ends(futures[30])
    await served.add_replica()
    done = await served.ends(*futures)
    assert [isinstance(error_of(call), WorkerLost) for call in done] == [number == 30 for number in range(60)]
    ran = [int(line) for line in log.read_text().split()]
    assert [number for number in ran if number >= 0] == list(range(60))


async def test_what_is_finished_does_not_wait_for_a_long_call_behind_it(serve: Serve, tmp_path: Path) -> None:
    source = (
        "import socket\ndef wait(x):\n    if isinstance(x, int): return x\n"
        "    with socket.create_connection(('127.0.0.1', x['port'])) as far: return len(far.recv(1))"
    )
    ended = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        served = await serve(source, "wait", max_queue_depth=5000)
        await served.ends(*[served.submit({"x": 0}) for _ in range(200)])
        quick = [served.submit({"x": number}) for number in range(5)]
        long = served.submit({"x": {"port": port}})
        done = await served.ends(*quick)
        is_long_over = long.done()
        ended.set()
        await served.ends(long)
    assert [value_of(call) for call in done] == list(range(5))
    assert not is_long_over


async def test_a_call_past_timeout_is_replaced_and_the_next_one_runs(serve: Serve) -> None:
    source = "def spin(x):\n    while x: pass\n    return x"
    served = await serve(source, "spin", timeout_s=0.3)
    stuck, following = served.submit(1), served.submit(0)
    assert isinstance(error_of((await served.ends(stuck))[0]), DeadlineExceeded)
    await served.add_replica()
    assert value_of((await served.ends(following))[0]) == 0


async def test_a_stream_keeps_within_its_credit_and_arrives_whole(serve: Serve) -> None:
    served = await serve("def count(n):\n    yield from range(n)", "count")
    chunks: list[bytes] = []
    future: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()
    invocation = Invocation(b"200", "", future.set_result)

    def take(chunk: bytes, content_type: str) -> None:
        chunks.append(chunk)
        asyncio.get_running_loop().call_soon(served.dispatcher.consumed, invocation, 1)

    invocation.on_chunk = take
    served.dispatcher.submit(invocation)
    await served.ends(future)
    assert chunks == [b"%d" % number for number in range(200)]
    assert value_of((await served.ends(served.submit(100)))[0]) == list(range(100))


async def test_async_functions_run_at_once(serve: Serve) -> None:
    source = (
        "import asyncio\nhere = asyncio.Barrier(8) if hasattr(asyncio, 'Barrier') else None\n"
        "async def meet(x):\n    if here: await here.wait()\n    return x"
    )
    served = await serve(source, "meet", concurrency=8)
    done = await served.ends(*[served.submit(number) for number in range(16)])
    assert [value_of(invocation) for invocation in done] == list(range(16))
