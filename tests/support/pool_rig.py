"""A pool in tests: plans from source, stores in memory, callers, and a backend with real workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from stoker.bundle import build_source_bundle, bundle_sha256, sign
from stoker.errors import NotFound, PlatformError
from stoker.signing import new_private_key, public_key_of
from stoker.spec import options_from_json
from stoker_pool.cpu_devices import CpuDevices
from stoker_pool.forecast.ports import Forecast, ForecastStore
from stoker_pool.local_backend import LocalBackend
from stoker_pool.plan import RevisionPlan
from stoker_pool.pool import Pool
from stoker_pool.settings import PoolSettings
from stoker_runtime.clock import SystemClock
from stoker_runtime.environment_build import EnvironmentBuilder
from stoker_runtime.invocation import Invocation
from stoker_runtime.worker_factory import WorkerFactory
from tests.support.fake_backend import FakeBackend
from tests.support.manual_timers import ManualTimers

LIMIT_S = 60.0
_KEY = new_private_key()
DOUBLE = "def double(x):\n    return x * 2\n"


class MemoryLearned:
    """A learned store in memory."""

    def __init__(self) -> None:
        self.content: dict[str, object] = {}

    def load(self) -> dict[str, object]:
        return dict(self.content)

    def save(self, content: dict[str, object]) -> None:
        self.content = content


class Bundles:
    """Bundles and plans by what they are made of."""

    def __init__(self) -> None:
        self.by_hash: dict[str, bytes] = {}
        self.secrets: dict[str, str] = {}

    async def read(self, sha256: str) -> bytes:
        return self.by_hash[sha256]

    def values(self, namespace: str, names: Sequence[str]) -> dict[str, str]:
        missing = [name for name in names if name not in self.secrets]
        if missing:
            raise NotFound(f"no secret {missing[0]} in {namespace}")
        return {name: self.secrets[name] for name in names}

    def plan(self, source: str = DOUBLE, handler: str = "double", number: int = 1, **options: object) -> RevisionPlan:
        """A signed revision of ``handler`` in ``source``."""
        bundle = build_source_bundle(source)
        sha256 = bundle_sha256(bundle)
        self.by_hash[sha256] = bundle
        name = handler.lower()
        return RevisionPlan(
            key=f"default/{name}@{number}",
            namespace="default",
            name=name,
            number=number,
            handler=handler,
            options=options_from_json(name, options),
            bundle_sha256=sha256,
            signature=sign(bundle, _KEY),
            public_key=public_key_of(_KEY),
        )


def submit(pool: Pool, plan: RevisionPlan, value: object = 1) -> asyncio.Future[Invocation]:
    """One call; its future gives the ended invocation."""
    ended: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()

    def on_done(invocation: Invocation) -> None:
        if not ended.done():
            ended.set_result(invocation)

    dispatcher = pool.dispatcher(plan)
    body = msgspec.json.encode({"x": value})
    dispatcher.submit(Invocation(body, "", on_done, accepted_ns=dispatcher.now_ns()))
    return ended


async def call(pool: Pool, plan: RevisionPlan, value: object = 1) -> Invocation:
    """One call, to its end."""
    return await asyncio.wait_for(submit(pool, plan, value), LIMIT_S)


def result_of(invocation: Invocation) -> object:
    """The JSON result; raises what the call ended with."""
    assert invocation.outcome is not None
    if invocation.outcome.error is not None:
        raise invocation.outcome.error
    return msgspec.json.decode(invocation.outcome.body)


def error_of(ended: asyncio.Future[Invocation] | Invocation) -> PlatformError:
    """The error that a call ended with."""
    invocation = ended.result() if isinstance(ended, asyncio.Future) else ended
    assert invocation.outcome is not None
    assert invocation.outcome.error is not None
    return invocation.outcome.error


async def until_gone(pool: Pool) -> None:
    """Returns when no replica is left: each has an event for its end."""
    for revision in list(pool._all()):
        members = list(revision.replicas.members.values())
        if members:
            await asyncio.wait_for(asyncio.wait([replica.ended for replica in members]), LIMIT_S)


@asynccontextmanager
async def fake_pool(
    backend: FakeBackend, *, forecast: Forecast | None = None, store: ForecastStore | None = None, **settings: object
) -> AsyncIterator[tuple[Pool, ManualTimers]]:
    """A pool under virtual time over ``backend``."""
    timers = ManualTimers()
    chosen = PoolSettings(memory_sample_s=None, **settings)  # type: ignore[arg-type]
    pool = Pool(
        backend,
        clock=timers.clock,
        learned=MemoryLearned(),
        settings=chosen,
        timers=timers,
        forecast=forecast,
        forecast_store=store,
    )
    async with pool:
        yield pool, timers


@asynccontextmanager
async def real_backend(
    folder: Path, bundles: Bundles, *, memory_budget_bytes: int | None = None
) -> AsyncIterator[LocalBackend]:
    """Workers as processes, on the CPU."""
    async with WorkerFactory(folder / "work") as factory:
        yield LocalBackend(
            factory,
            EnvironmentBuilder(folder / "environments"),
            bundles,
            bundles,
            cpu=CpuDevices(memory_budget_bytes),
            gpus=None,
            scratch_root=folder / "scratch",
            log_root=folder / "logs",
        )


@asynccontextmanager
async def real_pool(
    folder: Path, bundles: Bundles, *, memory_budget_bytes: int | None = None, **settings: object
) -> AsyncIterator[Pool]:
    """A pool with real workers."""
    chosen = PoolSettings(**{"memory_sample_s": None, **settings})  # type: ignore[arg-type]
    async with real_backend(folder, bundles, memory_budget_bytes=memory_budget_bytes) as backend:
        async with Pool(backend, clock=SystemClock(), learned=MemoryLearned(), settings=chosen) as pool:
            yield pool
