"""Zygotes: what they preload, how they end, and environments that are built."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.worker_starts import LIMIT_S, OWN_ENVIRONMENT, Caller, order_for

from stoker.errors import EnvironmentBuildFailed, StartFailed
from stoker.options import EnvironmentSpec
from stoker_runtime.environment_build import BuiltEnvironment, EnvironmentBuilder, digest_of
from stoker_runtime.worker_factory import WorkerFactory

WHICH = "import sys\ndef which(name): return [name in sys.modules, sys.executable]"


@pytest.fixture
async def factory(tmp_path: Path) -> AsyncIterator[WorkerFactory]:
    async with WorkerFactory(tmp_path / "factory") as factory:
        yield factory


async def ask(factory: WorkerFactory, folder: Path, environment: BuiltEnvironment, name: str) -> list[object]:
    replica = await factory.start(replace(order_for(WHICH, "which", folder), environment=environment))
    caller = Caller(replica)
    value: list[object] = (await caller.call(name)).value
    replica.kill()
    await replica.wait_exit()
    caller.close()
    return value


def module(folder: Path, name: str, text: str) -> tuple[tuple[str, str], ...]:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(text)
    return (("PYTHONPATH", str(folder)),)


async def test_a_preloaded_module_is_there_in_a_fresh_worker(factory: WorkerFactory, tmp_path: Path) -> None:
    environment = replace(OWN_ENVIRONMENT, preload=("colorsys",))
    assert await ask(factory, tmp_path, environment, "colorsys") == [True, sys.executable]


async def test_a_named_preload_that_fails_is_the_users_error(factory: WorkerFactory, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentBuildFailed, match="no_such_module_at_all"):
        await factory.prewarm_environment(replace(OWN_ENVIRONMENT, preload=("no_such_module_at_all",)))


async def test_an_inferred_preload_that_fails_or_starts_threads_is_left_out(
    factory: WorkerFactory, tmp_path: Path
) -> None:
    text = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
    env = module(tmp_path / "modules", "threaded", text)
    environment = replace(OWN_ENVIRONMENT, inferred_preload=("missing_one", "threaded", "colorsys"), env=env)
    assert (await ask(factory, tmp_path, environment, "colorsys"))[0] is True
    with pytest.raises(EnvironmentBuildFailed, match="threaded"):
        await factory.prewarm_environment(replace(OWN_ENVIRONMENT, preload=("threaded",), env=env))


async def test_many_starts_share_one_zygote(factory: WorkerFactory, tmp_path: Path) -> None:
    order = order_for("import os\ndef parent(x): return os.getppid()", "parent", tmp_path)
    replicas = await asyncio.gather(*(factory.start(replace(order, replica_id=f"r{n}")) for n in range(4)))
    callers = [Caller(replica) for replica in replicas]
    parents = {(await caller.call(1)).value for caller in callers}
    assert len(parents) == 1
    os.kill(parents.pop(), signal.SIGKILL)
    exits = await asyncio.wait_for(asyncio.gather(*(replica.wait_exit() for replica in replicas)), LIMIT_S)
    assert {exited.signal for exited in exits} == {9}
    for caller in callers:
        caller.close()
    assert (await ask(factory, tmp_path, OWN_ENVIRONMENT, "os"))[0] is True  # by a new zygote


async def test_an_interpreter_that_is_not_there_is_a_failed_start(factory: WorkerFactory, tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="does not start"):
        await factory.prewarm_environment(BuiltEnvironment(python_path=tmp_path / "python", digest="none"))


async def test_an_idle_zygote_is_evicted_for_newer_ones(tmp_path: Path) -> None:
    async with WorkerFactory(tmp_path / "factory", max_idle_zygotes=1) as factory:
        first = replace(OWN_ENVIRONMENT, preload=("colorsys",))
        await factory.prewarm_environment(first)
        await factory.prewarm_environment(OWN_ENVIRONMENT)
        phases: list[str] = []
        replica = await factory.start(replace(order_for(WHICH, "which", tmp_path), environment=first), phases.append)
        assert phases[0] == "zygote"
        replica.kill()
        await replica.wait_exit()


def test_the_digest_is_by_content_and_not_by_order() -> None:
    one = EnvironmentSpec(python_packages=("a==1", "b==2"))
    other = EnvironmentSpec(python_packages=("b==2", "a==1"), preload=("a",))
    assert digest_of(one) == digest_of(other)
    assert digest_of(one) != digest_of(EnvironmentSpec(python_packages=("a==2", "b==2")))


@pytest.mark.slow
async def test_an_environment_is_built_once_and_serves(factory: WorkerFactory, tmp_path: Path) -> None:
    wheel = tiny_wheel(tmp_path)
    builder = EnvironmentBuilder(tmp_path / "cache")
    spec = EnvironmentSpec(python_packages=(f"tiny-thing @ {wheel.as_uri()}",))
    progress: list[str] = []
    built = await asyncio.gather(*(builder.ensure(spec, on_progress=progress.append) for _ in range(3)))
    assert len({environment.python_path for environment in built}) == 1
    assert sum("Installed" in line for line in progress) == 1
    assert list(builder.built()) == [built[0].digest]
    source = "import tiny_thing\ndef ask(x): return tiny_thing.ANSWER"
    replica = await factory.start(replace(order_for(source, "ask", tmp_path), environment=built[0]))
    caller = Caller(replica)
    assert (await caller.call(1)).value == 42
    replica.kill()
    await replica.wait_exit()
    caller.close()


@pytest.mark.slow
async def test_the_resolvers_own_words_are_shown(tmp_path: Path) -> None:
    builder = EnvironmentBuilder(tmp_path / "cache")
    spec = EnvironmentSpec(python_packages=("msgspec==0.0.1",))
    with pytest.raises(EnvironmentBuildFailed, match="No solution found"):
        await builder.ensure(spec)
    assert builder.built() == {}


def tiny_wheel(folder: Path) -> Path:
    path = folder / "tiny_thing-1.0-py3-none-any.whl"
    info = "tiny_thing-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny_thing.py", "ANSWER = 42\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path
