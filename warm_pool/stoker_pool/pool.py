"""The warm pool: every revision's replicas, on the devices of one platform.

The rule that must not break: when the pool has closed, no replica is left; until then, what it says about replicas,
devices and breakers is what is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

from stoker.errors import PlatformError, ShuttingDown
from stoker.options import ADAPTIVE, Scaling
from stoker_pool.backend import Backend
from stoker_pool.call_log import CallLog
from stoker_pool.crash_loop import BreakerInfo
from stoker_pool.devices import DeviceInfo
from stoker_pool.forecast.account import WarmthAccount
from stoker_pool.forecast.adaptive import AdaptivePolicy
from stoker_pool.forecast.pool_price import PoolGoal
from stoker_pool.forecast.ports import Forecast, ForecastStore
from stoker_pool.forecast.state_file import NoForecastStore
from stoker_pool.forecast_report import ForecastReport, loaded_s, report
from stoker_pool.learned import Learned, LearnedStore
from stoker_pool.ledger import DeviceLedger
from stoker_pool.memory_watch import MemoryWatch
from stoker_pool.needs import need_of
from stoker_pool.owned_tasks import OwnedTasks
from stoker_pool.placement import Placement, place
from stoker_pool.plan import DryRun, RevisionPlan
from stoker_pool.pool_parts import PoolParts
from stoker_pool.pool_stats import PoolStats
from stoker_pool.replica import ReplicaInfo
from stoker_pool.revision_pool import RevisionPool
from stoker_pool.room import RoomKeeper
from stoker_pool.settings import PoolSettings
from stoker_pool.trial import Trial
from stoker_pool.turns import in_turns
from stoker_pool.warmth import Warmth
from stoker_runtime.clock import Clock
from stoker_runtime.dispatcher import Dispatcher
from stoker_runtime.wake_timer import TimerHandle, Timers

log = logging.getLogger(__name__)

FunctionKey = tuple[str, str]


class Pool:
    """One per platform; lives on the loop's thread."""

    def __init__(
        self,
        backend: Backend,
        *,
        clock: Clock,
        learned: LearnedStore,
        settings: PoolSettings | None = None,
        timers: Timers | None = None,
        forecast: Forecast | None = None,
        forecast_store: ForecastStore | None = None,
        calls: CallLog | None = None,
    ) -> None:
        self.stats = PoolStats()
        self._store = learned
        self._given_timers = timers
        self._calls = calls
        self._forecast_store = forecast_store or NoForecastStore()
        self.on_wanted: Callable[[str, str], None] = lambda namespace, name: None
        """Called with a function that a call is expected of, where none of its revisions is known here."""
        self._clock = clock
        self._backend = backend
        self._settings = settings or PoolSettings()
        goal = PoolGoal(cold_start_target=self._settings.cold_start_target, idle_budget_s=self._settings.idle_budget_s)
        self._forecast = forecast or AdaptivePolicy(goal=goal)
        self._revisions: dict[str, RevisionPool] = {}
        self._former: list[RevisionPool] = []
        """Forgotten revisions whose last replicas and calls have not left yet."""
        self._functions: dict[FunctionKey, dict[int, RevisionPool]] = {}
        self._scalings: dict[FunctionKey, Scaling] = {}
        self._retired: dict[FunctionKey, set[int]] = {}
        self._unknown: dict[str, RevisionPlan] = {}
        self._save_timer: TimerHandle | None = None
        self._forecast_timer: TimerHandle | None = None
        self._is_closed = False
        self.device_problems: tuple[str, ...] = ()
        """What could not be read of the devices, in words."""

    async def __aenter__(self) -> Pool:
        reading = await asyncio.to_thread(self._backend.read_devices)
        content = await asyncio.to_thread(self._store.load)
        self.device_problems = reading.problems
        ledger = DeviceLedger(reading.devices)
        self.warmth = Warmth(self._forecast, self._clock, self._settings.prewarm_budget_s, self._calls)
        await self._restore_forecast()
        self._parts = PoolParts(
            backend=self._backend,
            clock=self._clock,
            timers=self._given_timers or asyncio.get_running_loop(),
            settings=self._settings,
            learned=Learned(content),
            ledger=ledger,
            room=RoomKeeper(ledger, self._all, self._backend.read_devices),
            stats=self.stats,
            tasks=OwnedTasks(),
            on_start=self._on_start,
            warmth=self.warmth,
            on_learned=self._on_learned,
            on_moved=self._wake_moved,
        )
        self._watch = MemoryWatch(self._parts, self._all)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_closed:
            await self.drain(0.0)

    # --- revisions ----------------------------------------------------------------------------------------------------

    def dispatcher(self, plan: RevisionPlan) -> Dispatcher:
        """Where calls of the revision go; made on first use, with the replicas of ``min_replicas``."""
        return self._revision(plan).dispatcher

    def know_soon(self, plan: RevisionPlan) -> None:
        """Be ready to start it ahead of calls; many of them do not hold the loop up."""
        self._unknown[plan.key] = plan
        if len(self._unknown) == 1:
            self._parts.tasks.start(self._know(), "know revisions")

    async def prewarm(self, plan: RevisionPlan) -> None:
        """Build the environment and warm what every start needs, without a replica; raises what went wrong."""
        await self._parts.backend.prewarm(plan)

    def prewarm_soon(self, plan: RevisionPlan) -> None:
        """The same without waiting; what went wrong is logged, and the first start will tell again."""
        self._parts.tasks.start(self._prewarm_quietly(plan), f"prewarm {plan.key}")

    def retire(self, namespace: str, name: str, keep: set[int]) -> None:
        """No alias points to the function's revisions other than ``keep``: they drain."""
        for number, revision in self._functions.get((namespace, name), {}).items():
            revision.set_retired(number not in keep)
        self._retired[(namespace, name)] = set(keep)

    def forget(self, namespace: str, name: str, numbers: set[int] | None = None) -> None:
        """Revisions were deleted (None: the whole function): they drain, and nothing is known of them any more."""
        known = self._functions.get((namespace, name), {})
        for number in set(known) if numbers is None else numbers & set(known):
            self._let_go(known.pop(number))
        if numbers is None:
            self._unknown = {
                key: plan for key, plan in self._unknown.items() if (plan.namespace, plan.name) != (namespace, name)
            }
            for table in (self._functions, self._scalings, self._retired):
                table.pop((namespace, name), None)
            self.warmth.forget(f"{namespace}/{name}")

    def set_scaling(self, namespace: str, name: str, scaling: Scaling | None) -> None:
        """Override the scaling of all revisions, also of coming ones; None: what each one's options say."""
        if scaling is None:
            self._scalings.pop((namespace, name), None)
        else:
            self._scalings[(namespace, name)] = scaling
        for revision in self._functions.get((namespace, name), {}).values():
            revision.set_scaling(scaling)

    def expect(self, namespace: str, name: str, at_s: float, *, source: str, until_s: float | None = None) -> None:
        """A call of the function is certain at ``at_s`` (Unix seconds): a replica is ready just before.

        It replaces the earlier expectation of the same source, and stays for a while, or until ``until_s``.
        """
        self.warmth.of(f"{namespace}/{name}").expectations.put(source, at_s, until_s)
        if not any(not revision.is_retired for revision in self._functions.get((namespace, name), {}).values()):
            self.on_wanted(namespace, name)
        self._wake(namespace, name)

    def unexpect(self, namespace: str, name: str, source: str) -> None:
        """The call that ``source`` announced does not come."""
        self.warmth.of(f"{namespace}/{name}").expectations.drop(source)
        self._wake(namespace, name)

    def has_room(self, plan: RevisionPlan) -> bool:
        """A replica of the revision could start now, and no other would have to leave."""
        parts = self._parts
        return isinstance(place(need_of(plan, parts.learned), parts.ledger.loads()), Placement)

    async def warm_up(self, plan: RevisionPlan, replicas: int = 1) -> dict[str, int]:
        """Returns the longest start's phases in nanoseconds when so many are ready; raises the start's error."""
        return await self._revision(plan).warm_up(replicas)

    async def unload(self, namespace: str, name: str) -> None:
        """Drain every replica of a function now; a later call starts one again."""
        for revision in self._functions.get((namespace, name), {}).values():
            for candidate in revision.candidates():
                revision.drain_replica(candidate.replica_id)

    async def dry_run(self, plan: RevisionPlan, bundle: bytes) -> DryRun:
        """Start a real worker from ``bundle``, run the warm-up input, stop it; raises the start's error."""
        if self._parts.is_closing:
            raise ShuttingDown("the platform drains and starts nothing new")
        trial = self._parts.tasks.start(Trial(plan, bundle, self._parts).run(), f"trial {plan.key}")
        try:
            await asyncio.wait({trial})
        except asyncio.CancelledError:
            trial.cancel()
            await asyncio.wait({trial})
            raise
        return trial.result()

    def retry(self, namespace: str, name: str) -> None:
        """Close the crash-loop breaker of a function's revisions."""
        for revision in self._functions.get((namespace, name), {}).values():
            revision.retry()

    # --- what is ------------------------------------------------------------------------------------------------------

    def replicas(self, namespace: str | None = None, name: str | None = None) -> list[ReplicaInfo]:
        """Replicas of everyone, a namespace, or a function."""
        return [
            info
            for revision in self._all()
            if namespace in (None, revision.plan.namespace) and name in (None, revision.plan.name)
            for info in revision.replicas.infos()
        ]

    def dispatchers(
        self, namespace: str | None = None, name: str | None = None
    ) -> list[tuple[RevisionPlan, Dispatcher]]:
        """The dispatchers that exist, with their revisions; makes none."""
        return [
            (revision.plan, revision.dispatcher)
            for revision in self._revisions.values()
            if namespace in (None, revision.plan.namespace) and name in (None, revision.plan.name)
        ]

    def devices(self) -> list[DeviceInfo]:
        """Devices and what is free on them."""
        return self._parts.ledger.info()

    def breaker(self, namespace: str, name: str) -> BreakerInfo | None:
        """The open breaker of the newest revision that has one."""
        for number, revision in sorted(self._functions.get((namespace, name), {}).items(), reverse=True):
            if revision.replicas.breaker.is_open:
                return BreakerInfo(
                    revision=number,
                    failures=revision.replicas.breaker.failures,
                    reason=revision.replicas.breaker.reason,
                    start_phase=revision.replicas.breaker.start_phase,
                    log_tail=revision.replicas.breaker.log_tail,
                )
        return None

    def forecast(self, namespace: str, name: str, scaling: Scaling) -> ForecastReport:
        """What is expected of a function, why it is loaded, and what foreseeing has come to."""
        revisions = list(self._functions.get((namespace, name), {}).values())
        return report(self.warmth, revisions, f"{namespace}/{name}", scaling)

    def accounts(self) -> list[tuple[str, WarmthAccount, float]]:
        """For every function that was seen: its account, and the device seconds that it was loaded until now."""
        live: dict[str, list[RevisionPool]] = {}
        for revision in self._all():
            live.setdefault(revision.warmth.function, []).append(revision)
        return [
            (function, account, loaded_s(account, live.get(function, ())))
            for function, account in self.warmth.accounts()
        ]

    def forecasts_off(self) -> list[tuple[str, bool]]:
        """For every adaptive function with a revision in use: whether its forecast is turned off."""
        scalings = {
            key: self._scalings.get(key, revision.plan.options.scaling)
            for key, revisions in self._functions.items()
            for revision in revisions.values()
            if not revision.is_retired
        }
        return [
            (f"{namespace}/{name}", self.warmth.forecast.is_off(f"{namespace}/{name}"))
            for (namespace, name), scaling in scalings.items()
            if scaling.keep_alive_s == ADAPTIVE
        ]

    async def measure_memory(self) -> None:
        """Measure active replicas now, without waiting for the next sample."""
        await self._watch.measure()

    # --- the end ------------------------------------------------------------------------------------------------------

    async def drain(self, timeout_s: float) -> None:
        """Start nothing new, let what is accepted finish within ``timeout_s``, end every replica, save."""
        self._is_closed = self._parts.is_closing = True
        self._watch.stop()
        await asyncio.gather(*(revision.shut_down(timeout_s) for revision in self._all()))
        await self._parts.tasks.close()
        if self._save_timer is not None:
            self._save_timer.cancel()
        if self._forecast_timer is not None:
            self._forecast_timer.cancel()
        await self._save()
        await self._save_forecast()

    # --- small steps --------------------------------------------------------------------------------------------------

    def _revision(self, plan: RevisionPlan) -> RevisionPool:
        revision = self._revisions.get(plan.key)
        if revision is not None:
            if revision.plan is plan or revision.plan == plan:
                return revision
            self._let_go(revision)  # deleted and registered anew under the same number
        function = (plan.namespace, plan.name)
        revision = RevisionPool(plan, self._parts, self._scalings.get(function))
        kept = self._retired.get(function)
        is_retired = kept is not None and plan.number not in kept and plan.number <= max(kept, default=0)
        revision.set_retired(is_retired)
        self._revisions[plan.key] = revision
        self._functions.setdefault(function, {})[plan.number] = revision
        return revision

    async def _know(self) -> None:
        while self._unknown:
            await asyncio.sleep(0)  # a turn of the loop for each: the first look at a forecast takes a while
            for key in list(self._unknown)[:1]:
                self._revision(self._unknown[key])
                self._unknown.pop(key, None)

    def _wake(self, namespace: str, name: str) -> None:
        for revision in self._functions.get((namespace, name), {}).values():
            revision.wake()

    def _wake_moved(self, functions: Iterable[str]) -> None:
        for function in functions:
            namespace, _, name = function.partition("/")
            self._wake(namespace, name)

    def _let_go(self, revision: RevisionPool) -> None:
        self._revisions.pop(revision.plan.key, None)
        self._former = [former for former in self._former if not former.is_over]
        self._former.append(revision)
        revision.set_retired(True)

    def _all(self) -> Iterator[RevisionPool]:
        yield from self._revisions.values()
        yield from self._former

    def _on_start(self) -> None:
        self._watch.keep_on()
        if self._save_timer is None and not self._is_closed:
            delay_s = self._settings.learned_save_delay_s
            self._save_timer = self._parts.timers.call_later(delay_s, self._save_soon)

    def _save_soon(self) -> None:
        self._save_timer = None
        self._parts.tasks.start(self._save(), "save estimates")

    async def _save(self) -> None:
        learned = self._parts.learned
        if learned.is_changed:
            learned.is_changed = False
            await asyncio.to_thread(self._store.save, learned.content())

    async def _restore_forecast(self) -> None:
        state = await asyncio.to_thread(self._forecast_store.load)
        if state is None:
            return
        try:
            self._forecast.restore(state)
        except ValueError as error:
            log.warning("what the forecast had learned cannot be read; it starts anew", extra={"reason": str(error)})

    def _on_learned(self) -> None:
        if self._forecast_timer is None and not self._is_closed:
            delay_s = self._settings.forecast_save_delay_s
            self._forecast_timer = self._parts.timers.call_later(delay_s, self._save_forecast_soon)

    def _save_forecast_soon(self) -> None:
        self._forecast_timer = None
        self._parts.tasks.start(self._save_forecast(), "save forecast")

    async def _save_forecast(self) -> None:
        if self.warmth.is_changed:
            self.warmth.is_changed = False
            pack = await in_turns(self._forecast.state_in_steps())
            await asyncio.to_thread(lambda: self._forecast_store.save(pack()))

    async def _prewarm_quietly(self, plan: RevisionPlan) -> None:
        try:
            await self._parts.backend.prewarm(plan)
        except PlatformError as error:
            log.warning("an environment could not be warmed", extra={"revision": plan.key, "reason": str(error)})
