"""Zygotes that are killed while a worker starts: another one takes their place, and no start fails for it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.processes import children
from tests.support.worker_starts import Caller, order_for

from stoker.errors import StartFailed
from stoker_runtime.environment_build import BuiltEnvironment
from stoker_runtime.replica_process import StartOrder
from stoker_runtime.worker_factory import WorkerFactory

SOURCE = """
import os
import signal

class Double:
    def load(self):
        while os.path.exists({held!r}):
            signal.pause()

    def __call__(self, x):
        return 2 * x
"""


@pytest.fixture
async def factory(tmp_path: Path) -> AsyncIterator[WorkerFactory]:
    async with WorkerFactory(tmp_path / "factory") as running:
        yield running


def kill_zygotes() -> None:
    for pid, command in children().items():
        if "stoker_runtime.zygote" in command:
            os.kill(pid, signal.SIGKILL)


def interpreter_killed(times: int, folder: Path) -> BuiltEnvironment:
    """Its first ``times`` starts end by SIGKILL; each leaves a line in ``starts``."""
    script = folder / "python"
    script.write_text(
        f"#!/bin/sh\necho >> {folder}/starts\n"
        f"[ $(wc -l < {folder}/starts) -gt {times} ] || kill -9 $$\n"
        f'exec {sys.executable} "$@"\n'
    )
    script.chmod(0o755)
    return BuiltEnvironment(python_path=script, digest=f"killed-{times}")


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """While this file is there, no worker gets past its load."""
    path = tmp_path / "held"
    path.touch()
    return path


def held_order(held: Path, tmp_path: Path) -> StartOrder:
    return order_for(SOURCE.format(held=str(held)), "Double", tmp_path)


@pytest.mark.parametrize("phase", ["fork", "verify", "unpickle", "enter"])
async def test_a_start_outlives_its_zygote(factory: WorkerFactory, tmp_path: Path, held: Path, phase: str) -> None:
    phases: list[str] = []

    def kill_once(name: str) -> None:
        if name == "fork" and name in phases:
            held.unlink()
        if name == phase and name not in phases:
            kill_zygotes()
        phases.append(name)

    replica = await factory.start(held_order(held, tmp_path), kill_once)
    caller = Caller(replica)
    assert (await caller.call(21)).value == 42
    assert phases.count("fork") == 2
    caller.close()
    replica.kill()
    await replica.wait_exit()


async def test_a_zygote_killed_while_it_starts_is_started_again(factory: WorkerFactory, tmp_path: Path) -> None:
    await factory.prewarm_environment(interpreter_killed(2, tmp_path))
    assert (tmp_path / "starts").read_text().count("\n") == 3


async def test_zygotes_that_are_always_killed_end_as_a_failed_start(factory: WorkerFactory, tmp_path: Path) -> None:
    order = replace(held_order(tmp_path, tmp_path), environment=interpreter_killed(100, tmp_path))
    with pytest.raises(StartFailed, match="signal 9"):
        await factory.start(order)
    assert (tmp_path / "starts").read_text().count("\n") == 3


async def test_a_start_that_loses_each_of_its_zygotes_fails(factory: WorkerFactory, tmp_path: Path, held: Path) -> None:
    phases: list[str] = []

    def kill_always(name: str) -> None:
        phases.append(name)
        if name == "enter":
            kill_zygotes()

    with pytest.raises(StartFailed):
        await factory.start(held_order(held, tmp_path), kill_always)
    assert phases.count("enter") == 3
