"""The composition root: puts the rooms together, and takes them apart in order.

The rule that must not break: what is opened here is closed here, in the reverse order, also when the start fails half
way; nothing else in the package makes these objects.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType

from stoker.errors import Conflict
from stoker.options import ADAPTIVE
from stoker.preflight import PlatformFacts, own_facts
from stoker_api.batches.functions import RegisteredFunctions
from stoker_api.batches.metrics import BatchCollector
from stoker_api.batches.preparation import Preparation
from stoker_api.batches.records import NewBatch
from stoker_api.batches.runner import BatchRunner
from stoker_api.batches.service import Batches
from stoker_api.batches.uploads import Uploads
from stoker_api.blobs import BlobStore
from stoker_api.catalog import Catalog
from stoker_api.data_dir import DataDir, DataDirLock
from stoker_api.function_logs import FunctionLogs
from stoker_api.gateway.gateway import Gateway
from stoker_api.internal_calls import InternalCalls
from stoker_api.jobs.desk import InvocationDesk
from stoker_api.jobs.opening import open_jobs
from stoker_api.jobs.service import Jobs
from stoker_api.key_files import load_or_make_key
from stoker_api.metrics import metrics_registry
from stoker_api.registration import Registration
from stoker_api.registry import Registry
from stoker_api.route_table import RouteTable, plan_of
from stoker_api.schedules.opening import WorkEnds, open_schedules
from stoker_api.schedules.scheduler import Started
from stoker_api.schedules.service import Schedules
from stoker_api.secrets import Secrets
from stoker_api.settings import PlatformSettings
from stoker_api.stores.ports import Store
from stoker_api.stores.records import FunctionKey, Scope
from stoker_api.stores.sqlite.batches import SqliteBatchStore
from stoker_api.stores.sqlite.database import WORK, Database
from stoker_api.stores.sqlite.schedule_steps import Steps
from stoker_api.stores.sqlite.store import SqliteStore
from stoker_api.tokens import Tokens
from stoker_api.triggers.metrics import TriggerCollector
from stoker_api.triggers.opening import open_triggers
from stoker_api.triggers.triggers import Triggers
from stoker_api.webhooks.opening import from_any_thread, open_webhooks
from stoker_api.webhooks.webhooks import Webhooks
from stoker_api.webhooks.work_events import batch_teller, job_teller
from stoker_pool.call_log import FileCallLog
from stoker_pool.cpu_devices import CpuDevices
from stoker_pool.forecast.state_file import ForecastFile
from stoker_pool.learned import JsonLearnedStore
from stoker_pool.local_backend import LocalBackend
from stoker_pool.nvml import NvmlDevices
from stoker_pool.plan import RevisionPlan
from stoker_pool.pool import Pool
from stoker_runtime.clock import Clock, SystemClock
from stoker_runtime.environment_build import EnvironmentBuilder
from stoker_runtime.rotating_log import LogLine
from stoker_runtime.worker_factory import WorkerFactory

log = logging.getLogger(__name__)
_FIRST_TOKEN = "first"


class Platform:
    """Async context manager: inside the block, everything works."""

    def __init__(self, settings: PlatformSettings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self._stack = AsyncExitStack()
        self._hurried = asyncio.Event()
        self._line_sinks: list[Callable[[list[LogLine]], None]] = []

    async def __aenter__(self) -> Platform:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain()
        await self._stack.aclose()

    async def _open(self) -> None:
        self.dir = self._stack.enter_context(DataDirLock(self.settings.data_dir.absolute()))
        database = await self._stack.enter_async_context(Database(self.dir.database))
        self.work = await self._stack.enter_async_context(Database(self.dir.work_database, WORK))
        await self._open_stores(SqliteStore(database))
        self.facts: PlatformFacts = await asyncio.to_thread(own_facts)
        self.logs = FunctionLogs(self.dir.logs)
        self.logs.start(asyncio.get_running_loop())
        self.environments = EnvironmentBuilder(self.dir.environments)
        self.call_log = await self._stack.enter_async_context(FileCallLog(self.dir.history))
        self.pool = await self._open_pool(self.dir)
        self.routes = RouteTable(self.registry, self.pool)
        self.calls = InternalCalls(self.routes)
        self.catalog = Catalog(self.registry, self.pool)
        self.gateway = Gateway(self.routes, self.tokens, self.settings.gateway)
        self.metrics = metrics_registry(self.pool, self.gateway.counters)
        self.registration = Registration(
            registry=self.registry,
            blobs=self.blobs,
            tokens=self.tokens,
            secrets=self.secrets,
            environments=self.environments,
            pool=self.pool,
            facts=self.facts,
            private_key=load_or_make_key(self.dir.keys / "signing.key"),
            clock=self.clock,
            on_live=self._prewarm,
        )
        self.registry.on_change = self._apply
        self.pool.on_wanted = self._know
        self._warm_the_first()
        self.webhooks = await self._open_webhooks()
        ends = WorkEnds(Steps(self.settings.webhooks.give_up_after_s), asyncio.get_running_loop())
        self.jobs = await self._open_jobs(ends)
        self.batches = await self._open_batches(ends)
        self.schedules = await self._open_schedules(ends)
        self.triggers = await self._open_triggers()
        self._trigger_metrics = TriggerCollector(self.triggers, self.clock)
        for collector in (self.webhooks.tallies, self.schedules.tallies, self._trigger_metrics):
            self.metrics.register(collector)

    async def _open_triggers(self) -> Triggers:
        key = load_or_make_key(self.dir.keys / "triggers.key")
        triggers = open_triggers(
            self.work,
            self.calls,
            key,
            self.clock,
            lambda namespace, name: self.registry.find(FunctionKey(namespace, name)) is not None,
        )
        return await self._stack.enter_async_context(triggers)

    async def _open_batches(self, ends: WorkEnds) -> Batches:
        settings = self.settings.batch
        store = SqliteBatchStore(self.work)
        tell = batch_teller(self.settings.webhooks.give_up_after_s, from_any_thread(self.webhooks.wake))
        store.on_terminal += [ends.batch_ended, tell]
        functions = RegisteredFunctions(self.registry, self.pool)
        preparation = Preparation(self.dir.batches, settings.prefixes)
        runner = await self._stack.enter_async_context(
            BatchRunner(
                store=store,
                calls=self.calls,
                functions=functions,
                preparation=preparation,
                settings=settings,
                clock=self.clock,
            )
        )
        self.metrics.register(BatchCollector(runner))
        return Batches(
            store=store,
            runner=runner,
            functions=functions,
            preparation=preparation,
            uploads=Uploads(preparation.uploads, settings.max_upload_bytes, self.clock),
            clock=self.clock,
        )

    async def _open_stores(self, store: Store) -> None:
        self.tokens = Tokens(store, self.clock, is_open=self.settings.server.is_open)
        self.secrets = Secrets(store, load_or_make_key(self.dir.keys / "secrets.key"), self.clock)
        self.registry = Registry(store, self.clock)
        self.blobs = BlobStore(self.dir.blobs)
        await self.tokens.load()
        await self.secrets.load()
        await self.registry.load()
        bundles = {
            revision.bundle_sha256 for entry in self.registry.functions() for revision in entry.revisions.values()
        }
        await self.blobs.sweep(bundles)

    async def _open_pool(self, where: DataDir) -> Pool:
        factory = await self._stack.enter_async_context(
            WorkerFactory(
                where.work,
                max_idle_zygotes=self.settings.server.max_idle_zygotes,
                on_lines=self._on_lines,
                hidden_folder=where.path,
                shown_folders=(where.work.name, where.environments.name),
            )
        )
        self._fence_logs = factory.fence_logs
        backend = LocalBackend(
            factory,
            self.environments,
            self.blobs,
            self.secrets,
            cpu=CpuDevices(self.settings.pool.cpu_memory_budget_bytes),
            gpus=NvmlDevices(),
            scratch_root=Path(where.work, "scratch"),
            log_root=where.logs,
        )
        return await self._stack.enter_async_context(
            Pool(
                backend,
                clock=self.clock,
                calls=self.call_log,
                learned=JsonLearnedStore(where.learned),
                forecast_store=ForecastFile(where.forecast),
                settings=self.settings.pool,
            )
        )

    async def _open_webhooks(self) -> Webhooks:
        key = load_or_make_key(self.dir.keys / "webhooks.key")
        return await self._stack.enter_async_context(open_webhooks(self.work, key, self.clock, self.settings.webhooks))

    async def _open_schedules(self, ends: WorkEnds) -> Schedules:
        def wake_work() -> None:
            self.jobs.wake()
            self.batches.runner.wake()
            self.webhooks.wake()

        async def cancel_work(work_id: str) -> None:
            if work_id.startswith("job_"):
                await self.jobs.cancel(work_id)
            else:
                await self.batches.runner.cancel(work_id)

        def read_ahead(spec: NewBatch) -> None:
            asyncio.get_running_loop().run_in_executor(None, self.batches.read_ahead, spec)

        schedules = await self._stack.enter_async_context(
            open_schedules(
                self.work,
                ends,
                self.pool,
                Started(wake_work=wake_work, cancel_work=cancel_work, read_ahead=read_ahead),
                self.clock,
                lambda namespace, name: self.registry.find(FunctionKey(namespace, name)) is not None,
            )
        )
        newest = [entry.options(entry.newest.number) for entry in self.registry.functions()]
        await schedules.sync_all(newest)  # the registry is another file: a kill may have come between the two
        return schedules

    async def _open_jobs(self, ends: WorkEnds) -> Jobs:
        jobs = open_jobs(
            self.work,
            self.dir.payloads,
            self.calls,
            self.registry,
            self._fence_logs,
            self.pool,
            self.clock,
            self.settings.jobs,
            [
                ends.job_ended,
                job_teller(self.settings.webhooks.give_up_after_s, from_any_thread(self.webhooks.wake)),
            ],
        )
        opened = await self._stack.enter_async_context(jobs)
        self._line_sinks.append(opened.lines.on_lines)
        self.metrics.register(opened.tallies)
        self.gateway.jobs = InvocationDesk(opened, self.webhooks.checked_targets)
        return opened

    def _on_lines(self, path: Path, lines: list[LogLine]) -> None:
        """Workers printed; on the log collector's thread."""
        self.logs.on_lines(path, lines)
        for sink in self._line_sinks:
            sink(lines)

    # ---- what routes need of several rooms at once

    @property
    def is_ready(self) -> bool:
        """Calls are taken."""
        return not self.gateway.is_draining

    async def look_for_metrics(self) -> None:
        """Before a scrape: what only the stores and the brokers know."""
        await asyncio.gather(self.jobs.count_open(), self.webhooks.count_pending(), self._trigger_metrics.look())

    def plan(self, key: FunctionKey, number: int) -> RevisionPlan:
        """A revision as the pool knows it."""
        return plan_of(self.registry, key, number)

    def check_unused(self, key: FunctionKey, number: int | None, *, force: bool) -> None:
        """Raise ``Conflict`` while calls of the function (or one revision) are in flight, unless forced."""
        if force:
            return
        for plan, dispatcher in self.pool.dispatchers(key.namespace, key.name):
            busy = dispatcher.in_flight + dispatcher.queue_depth
            if busy and number in (None, plan.number):
                raise Conflict(
                    f"{plan.key} has {busy} calls in flight",
                    hint="Wait for their end, or delete with --force (over HTTP: ?force=true).",
                )

    async def delete_function(self, key: FunctionKey, *, force: bool) -> None:
        """Delete it with all its revisions; raises ``Conflict`` while it is in use, unless forced."""
        self.registry.function(key)
        self.check_unused(key, None, force=force)
        await self.registry.delete_function(key, force=force)
        await self.schedules.forget_function(key.namespace, key.name)
        await self.logs.forget(key)

    async def delete_revision(self, key: FunctionKey, number: int, *, force: bool) -> None:
        """Delete one revision; raises ``Conflict`` while it is in use, unless forced."""
        self.registry.revision(key, number)
        self.check_unused(key, number, force=force)
        await self.registry.delete_revision(key, number, force=force)
        self.pool.forget(key.namespace, key.name, {number})

    async def first_token(self) -> str:
        """A token with every scope for the local CLI: that of the last start, if it still opens."""
        known = self.dir.read_connection().get("token")
        if isinstance(known, str) and self.tokens.is_valid(known, Scope.ADMIN):
            return known
        token, _ = await self.tokens.create(_FIRST_TOKEN, frozenset({Scope.ADMIN}))
        return token

    # ---- the end

    def stop_accepting(self) -> None:
        """Take nothing new; what is in flight goes on."""
        self.gateway.drain()
        self.jobs.stop()
        self.triggers.stop()
        self.logs.close()

    def end_at_once(self) -> None:
        """Wait for nothing any more."""
        self._hurried.set()

    async def drain(self) -> None:
        """Let what was accepted end, then end every replica."""
        self.stop_accepting()
        await self.batches.runner.stop()
        draining = asyncio.ensure_future(self.pool.drain(self.settings.server.drain_timeout_s))
        hurried = asyncio.ensure_future(self._hurried.wait())
        await asyncio.wait({draining, hurried}, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not draining.done():
            draining.cancel()
        await asyncio.wait({draining})
        if not draining.cancelled():
            draining.result()

    # ---- registry to pool

    def _apply(self, key: FunctionKey) -> None:
        """A function changed: routes, scaling and retirements follow."""
        self.routes.forget(key)
        entry = self.registry.find(key)
        if entry is None:
            self.pool.forget(key.namespace, key.name)
            return
        scaling, in_use = entry.scaling, entry.in_use()
        self.pool.set_scaling(key.namespace, key.name, scaling)
        self.pool.retire(key.namespace, key.name, in_use)
        for number in in_use:
            wanted = scaling or entry.options(number).scaling
            if wanted.min_replicas:
                self.pool.dispatcher(self.plan(key, number))
            elif wanted.warm or wanted.keep_alive_s == ADAPTIVE:
                self.pool.know_soon(self.plan(key, number))

    def _know(self, namespace: str, name: str) -> None:
        """A call is expected of a function that the pool does not know yet."""
        key = FunctionKey(namespace, name)
        entry = self.registry.find(key)
        for number in entry.in_use() if entry is not None else ():
            self.pool.dispatcher(self.plan(key, number))

    def _prewarm(self, key: FunctionKey) -> None:
        entry = self.registry.find(key)
        if entry is not None:
            self.pool.prewarm_soon(self.plan(key, entry.newest.number))

    def _warm_the_first(self) -> None:
        """After a restart: bring back what must be there, and the zygotes of the newest environments."""
        newest: dict[str, FunctionKey] = {}
        for entry in self.registry.functions():
            self._apply(entry.record.key)
            newest.setdefault(entry.newest.environment_digest, entry.record.key)
        for key in list(newest.values())[: self.settings.server.max_idle_zygotes]:
            self._prewarm(key)
