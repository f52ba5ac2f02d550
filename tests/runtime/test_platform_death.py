"""The platform is killed: its zygotes and workers, and what they had started, leave with it."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from pathlib import Path

from tests.support.worker_starts import LIMIT_S

PLATFORM = """
import asyncio, sys
from pathlib import Path
from stoker_runtime.worker_factory import WorkerFactory
from tests.support.worker_starts import Caller, order_for

SOURCE = '''
import os, time
def spawn(x):
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        os.write(write, str(os.getpid()).encode())
        while True: time.sleep(60)
    return [os.getppid(), os.getpid(), int(os.read(read, 20))]
'''

async def main(folder):
    async with WorkerFactory(folder) as factory:
        caller = Caller(await factory.start(order_for(SOURCE, "spawn", folder)))
        print(*(await caller.call(1)).value, flush=True)
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_nothing_outlives_a_killed_platform(tmp_path: Path) -> None:
    root = str(Path(__file__).resolve().parents[2])
    platform = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PLATFORM, str(tmp_path), stdout=asyncio.subprocess.PIPE, cwd=root
    )
    assert platform.stdout is not None
    pids = [int(pid) for pid in (await asyncio.wait_for(platform.stdout.readline(), LIMIT_S)).split()]
    assert len(pids) == 3
    descriptors = [os.pidfd_open(pid) for pid in pids]
    platform.kill()
    await platform.wait()
    for descriptor in descriptors:
        ended, _, _ = select.select([descriptor], [], [], LIMIT_S)
        os.close(descriptor)
        assert ended
