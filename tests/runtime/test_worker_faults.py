"""What user code may do to its worker. After each fault the same factory starts and serves again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from tests.support.worker_starts import LIMIT_S, Caller, order_for

from stoker.errors import StartFailed
from stoker_runtime.cgroups import make_group
from stoker_runtime.frames import FrameKind
from stoker_runtime.replica_process import ReplicaProcess
from stoker_runtime.rotating_log import MAX_LOG_BYTES
from stoker_runtime.worker_factory import WorkerFactory
from stoker_runtime.zygote_client import WorkerExit

pytestmark = pytest.mark.asyncio(loop_scope="module")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="separate users need root")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def factory(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WorkerFactory]:
    async with WorkerFactory(tmp_path_factory.mktemp("factory")) as factory:
        yield factory


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def the_factory_serves_on(factory: WorkerFactory, tmp_path: Path) -> AsyncIterator[None]:
    yield
    order = replace(order_for("def double(x): return x * 2", "double", tmp_path), replica_id="after")
    replica = await factory.start(order)
    caller = Caller(replica)
    assert (await caller.call(21)).value == 42
    await caller.send(FrameKind.STOP, None)
    assert (await replica.wait_exit()).returncode == 0
    caller.close()


async def run(
    factory: WorkerFactory, folder: Path, source: str, handler: str, **options: object
) -> tuple[ReplicaProcess, Caller]:
    replica = await factory.start(order_for(source, handler, folder, **options))
    return replica, Caller(replica)


async def exit_of(replica: ReplicaProcess) -> WorkerExit:
    return await asyncio.wait_for(replica.wait_exit(), LIMIT_S)


@pytest.mark.parametrize(
    ("body", "signal", "returncode"),
    [
        ("import ctypes; ctypes.string_at(0)", 11, None),
        ("import os; os._exit(7)", None, 7),
        ("import os; os.abort()", 6, None),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 9, None),
    ],
    ids=["segfault", "os._exit", "abort", "killed"],
)
async def test_a_worker_that_dies_is_reported(
    factory: WorkerFactory, tmp_path: Path, body: str, signal: int | None, returncode: int | None
) -> None:
    replica, caller = await run(factory, tmp_path, f"def die(x):\n    {body}", "die")
    await caller.begin([1])
    exited = await exit_of(replica)
    assert (exited.signal, exited.returncode) == (signal, returncode)
    with pytest.raises((EOFError, ConnectionError)):
        await caller.receive()
    caller.close()


async def test_an_infinite_loop_is_killed(factory: WorkerFactory, tmp_path: Path) -> None:
    source = "import signal\ndef spin(x):\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    while True: pass"
    replica, caller = await run(factory, tmp_path, source, "spin")
    await caller.begin([1])
    replica.kill()
    assert (await exit_of(replica)).signal == 9
    caller.close()


@needs_root
async def test_a_fork_bomb_is_bounded_and_nothing_of_it_stays(factory: WorkerFactory, tmp_path: Path) -> None:
    source = """
import ctypes, os, time
def bomb(name):
    ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)  # the name under which all of it is found again
    started = 0
    while True:
        try:
            if os.fork() == 0:
                os.setsid()
                while True:
                    try: os.fork()
                    except OSError: time.sleep(0.05)
        except OSError:
            return [started, os.getuid()]
        started += 1
"""
    replica, caller = await run(factory, tmp_path, source, "bomb")
    name = f"bomb-{os.getpid()}"
    started, user = (await caller.call(name)).value
    assert started < 1000
    assert processes_named(name) != []
    replica.kill()
    await exit_of(replica)
    caller.close()
    assert user >= 60_000
    assert processes_named(name) == []


async def test_a_flood_on_stdout_blocks_nobody_and_fills_no_disk(factory: WorkerFactory, tmp_path: Path) -> None:
    source = "line = 'x' * 999\ndef flood(x):\n    for _ in range(150_000): print(line)\n    return 'done'"
    replica, caller = await run(factory, tmp_path, source, "flood")
    assert (await caller.call(1)).value == "done"
    await caller.send(FrameKind.STOP, None)
    await exit_of(replica)
    caller.close()
    files = [tmp_path / "function.log", tmp_path / "function.log.1"]
    assert sum(file.stat().st_size for file in files if file.exists()) <= 2 * MAX_LOG_BYTES
    last = msgspec.json.decode((tmp_path / "function.log").read_bytes().splitlines()[-1])
    assert last["replica"] == "flood-1"


async def test_a_deadlock_in_enter_ends_with_the_startup_timeout(factory: WorkerFactory, tmp_path: Path) -> None:
    source = """
import threading
class Stuck:
    def load(self):
        print('loading')
        lock = threading.Lock()
        lock.acquire(); lock.acquire()
    def __call__(self, x): return x
"""
    with pytest.raises(StartFailed) as caught:
        await factory.start(order_for(source, "Stuck", tmp_path, startup_timeout_s=0.5))
    assert caught.value.start_phase == "enter"
    assert "startup_timeout_s=0.5" in caught.value.detail
    assert "loading" in caught.value.log_tail


async def test_threads_left_behind_do_not_hold_the_worker(factory: WorkerFactory, tmp_path: Path) -> None:
    source = (
        "import threading\ndef leave(x):\n    threading.Thread(target=threading.Event().wait).start()\n    return 1"
    )
    replica, caller = await run(factory, tmp_path, source, "leave")
    assert (await caller.call(1)).value == 1
    await caller.send(FrameKind.STOP, None)
    assert (await exit_of(replica)).returncode == 0
    caller.close()


async def test_a_daemonized_grandchild_dies_with_its_worker(factory: WorkerFactory, tmp_path: Path) -> None:
    source = """
import os, time
def daemonize(x):
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write, str(os.getpid()).encode())
            while True: time.sleep(60)
        os._exit(0)
    return int(os.read(read, 20))
"""
    replica, caller = await run(factory, tmp_path, source, "daemonize")
    grandchild = (await caller.call(1)).value
    assert Path(f"/proc/{grandchild}").exists()
    await caller.send(FrameKind.STOP, None)
    await exit_of(replica)
    caller.close()
    assert not Path(f"/proc/{grandchild}").exists()


async def test_a_canceled_start_leaves_nothing(factory: WorkerFactory, tmp_path: Path) -> None:
    loading = asyncio.Event()
    source = "import time\nclass Slow:\n    def load(self): time.sleep(3600)\n    def __call__(self, x): return x"
    order = order_for(source, "Slow", tmp_path)
    starting = asyncio.ensure_future(factory.start(order, lambda phase: phase == "enter" and loading.set()))
    await loading.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_memory_is_seen_from_outside(factory: WorkerFactory, tmp_path: Path) -> None:
    source = "kept = []\ndef grow(mib):\n    kept.append(bytearray(mib << 20))\n    return len(kept)"
    replica, caller = await run(factory, tmp_path, source, "grow")
    before = replica.memory_now_bytes()
    await caller.call(64)
    assert replica.memory_now_bytes() - before > 60 << 20
    replica.kill()
    await exit_of(replica)
    caller.close()
    assert replica.memory_now_bytes() == 0


async def test_workers_draw_different_random_numbers(factory: WorkerFactory, tmp_path: Path) -> None:
    drawn = set()
    for _ in range(2):
        replica, caller = await run(factory, tmp_path, "import random\ndef draw(x): return random.random()", "draw")
        drawn.add((await caller.call(1)).value)
        replica.kill()
        await exit_of(replica)
        caller.close()
    assert len(drawn) == 2


def processes_named(name: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if (folder / "comm").read_text().strip() == name:
                    found.append(int(folder.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


async def test_memory_over_the_limit_ends_the_worker_and_says_so(factory: WorkerFactory, tmp_path: Path) -> None:
    probe = make_group("probe", 1 << 30)
    probe.remove()
    if not any("memory" in str(folder) for folder in probe.folders):
        pytest.skip("no control group with a memory limit may be made here")
    source = "def eat(x):\n    kept = []\n    while True: kept.append(bytearray(1 << 20))"
    order = replace(order_for(source, "eat", tmp_path), memory_limit_bytes=128 << 20)
    replica = await factory.start(order)
    caller = Caller(replica)
    await caller.begin([1])
    exited = await exit_of(replica)
    caller.close()
    assert exited.signal == 9
    assert "out of memory" in exited.reason
