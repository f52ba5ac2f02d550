"""Schedules as the rest of the platform uses them: make, change, pause, run by hand, fill in what was missed.

The rule that must not break: a schedule that would never tick, or whose zone, target or form is wrong, is refused when
it is made, and what was accepted is on disk before it is answered.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from stoker.errors import Conflict, InvalidInput, InvalidOption, NotFound
from stoker.options import FunctionOptions, check_name
from stoker.schedule import Schedule
from stoker_api.ids import new_id
from stoker_api.schedules.records import Origin, RunRecord, ScheduleRecord, Target
from stoker_api.schedules.scheduler import Scheduler
from stoker_api.schedules.templates import filled_in
from stoker_api.schedules.ticks import Ticks, check_fires, shown
from stoker_api.schedules.work import new_batch
from stoker_api.stores.sqlite.database import Database
from stoker_api.stores.sqlite.schedule_steps import Steps
from stoker_api.stores.sqlite.schedules import SqliteScheduleStore
from stoker_runtime.clock import Clock

MOST_SCHEDULES: Final = 10_000
MOST_BACKFILL: Final = 10_000
_COUNTED: Final = 200_000
NEXT_SHOWN: Final = 5


class Schedules:
    """One per platform, on the loop's thread."""

    def __init__(
        self,
        database: Database,
        steps: Steps,
        scheduler: Scheduler,
        clock: Clock,
        has_function: Callable[[str, str], bool],
    ) -> None:
        self._database = database
        self._store = SqliteScheduleStore(database)
        self._steps = steps
        self._scheduler = scheduler
        self._clock = clock
        self._has_function = has_function
        self.tallies = scheduler.tallies
        """For metrics."""

    # ---- make and change

    def check(self, schedule: Schedule, target: Target = Target()) -> Ticks:  # noqa: B008 - frozen
        """Raise ``InvalidOption`` for what could not run."""
        ticks, now_s = Ticks(schedule), self._now_s()
        check_fires(ticks, now_s)
        moment = datetime.fromtimestamp(now_s, ticks.zone)
        filled_in(schedule.arguments, moment)
        filled_in(dict(target.batch or {}), moment)
        return ticks

    async def create(
        self,
        namespace: str,
        name: str,
        function: str,
        schedule: Schedule,
        *,
        target: Target = Target(),  # noqa: B008 - frozen
        webhook_ids: Sequence[str] = (),
        origin: Origin = Origin.API,
        is_paused: bool = False,
    ) -> ScheduleRecord:
        """A new schedule; ticks count from now on. Raises ``Conflict``, ``InvalidOption``, ``NotFound``."""
        check_name("name", name)
        self.check(schedule, target)
        self._check_function(namespace, function)
        if len(await self._store.all()) >= MOST_SCHEDULES:
            raise Conflict(f"there are {MOST_SCHEDULES} schedules, and that is the most")
        now_s = self._now_s()
        record = ScheduleRecord(
            id=new_id("sched", now_s),
            namespace=namespace,
            name=name,
            origin=origin,
            function=function,
            schedule=schedule,
            target=target,
            webhook_ids=tuple(webhook_ids),
            is_paused=is_paused,
            cursor_s=now_s,
            created_s=now_s,
            updated_s=now_s,
        )
        _check_target(record, self._now_s())
        await self._store.add(record)
        self._scheduler.touch(record.id)
        return record

    async def change(
        self,
        record: ScheduleRecord,
        *,
        function: str | None = None,
        schedule: Schedule | None = None,
        target: Target | None = None,
        webhook_ids: Sequence[str] | None = None,
        is_paused: bool | None = None,
    ) -> ScheduleRecord:
        """Change what is given. With another schedule, and after a pause, ticks count from now on."""
        schedule = record.schedule if schedule is None else schedule
        target = record.target if target is None else target
        self.check(schedule, target)
        self._check_function(record.namespace, function or record.function)
        paused = record.is_paused if is_paused is None else is_paused
        starts_anew = schedule != record.schedule or (record.is_paused and not paused)
        changed = dataclasses.replace(
            record,
            function=function or record.function,
            schedule=schedule,
            target=target,
            webhook_ids=record.webhook_ids if webhook_ids is None else tuple(webhook_ids),
            is_paused=paused,
            cursor_s=self._now_s() if starts_anew else record.cursor_s,
            updated_s=max(self._now_s(), record.updated_s + 1e-3),
        )
        _check_target(changed, self._now_s())
        await self._write_change(changed, keeps_cursor=not starts_anew)
        self._scheduler.touch(record.id)
        return changed

    async def delete(self, record: ScheduleRecord) -> None:
        """With its history; what it started goes on."""
        await self._store.delete(record.id)
        self._scheduler.touch(record.id)

    # ---- with functions

    async def check_deploy(self, options: FunctionOptions) -> None:
        """Raise what would stand in the way of ``sync``, before anything is registered."""
        if options.schedule is None:
            return
        self.check(options.schedule)
        found = await self._store.find(options.namespace, options.name)
        if found is not None and found.origin is not Origin.DEPLOY:
            raise Conflict(
                f"namespace {options.namespace!r} has a schedule {options.name!r} that did not come with it",
                hint=f"Delete it (stoker schedules delete {options.name}), or deploy without schedule=.",
            )

    async def sync(self, options: FunctionOptions) -> None:
        """The schedule that is named after the function is what its newest revision says; nothing where none is."""
        found = await self._store.find(options.namespace, options.name)
        if found is not None and found.origin is not Origin.DEPLOY:
            return
        if options.schedule is None:
            if found is not None:
                await self.delete(found)
        elif found is None:
            await self.create(options.namespace, options.name, options.name, options.schedule, origin=Origin.DEPLOY)
        elif found.schedule != options.schedule:
            await self.change(found, schedule=options.schedule)

    async def sync_all(self, newest: Sequence[FunctionOptions]) -> None:
        """After a start: the same for every function, and for schedules whose function has gone."""
        own = {(record.namespace, record.name) for record in await self._store.all() if record.origin is Origin.DEPLOY}
        for options in newest:
            if options.schedule is not None or (options.namespace, options.name) in own:
                await self.sync(options)
            own.discard((options.namespace, options.name))
        for namespace, name in own:
            await self.forget_function(namespace, name)

    async def forget_function(self, namespace: str, function: str) -> None:
        """It was deleted: so is its own schedule, and others that call it are paused."""
        for record in await self._store.all(namespace):
            if record.function != function:
                continue
            if record.origin is Origin.DEPLOY:
                await self.delete(record)
            elif not record.is_paused:
                now_s = max(self._now_s(), record.updated_s + 1e-3)
                await self._write_change(dataclasses.replace(record, is_paused=True, updated_s=now_s))
                self._scheduler.touch(record.id)

    # ---- look

    async def all(self, namespace: str) -> list[ScheduleRecord]:
        """By name."""
        return await self._store.all(namespace)

    async def get(self, namespace: str, name: str) -> ScheduleRecord:
        """By name or id; raises ``NotFound``."""
        found = await self._store.find(namespace, name)
        if found is None:
            raise NotFound(
                f"namespace {namespace!r} has no schedule {name!r}", hint="`stoker schedules list` shows what there is."
            )
        return found

    def coming(self, record: ScheduleRecord, count: int = NEXT_SHOWN) -> list[str]:
        """Its next ticks in its own zone; none while it is paused."""
        if record.is_paused:
            return []
        try:
            ticks = Ticks(record.schedule)
        except InvalidOption:  # this machine does not know its zone any more
            return []
        after_s = max(self._now_s(), record.cursor_s)
        return [shown(tick_s, ticks.zone) for tick_s in islice(ticks.after(after_s), count)]

    async def history(self, record: ScheduleRecord, before: int | None, limit: int) -> list[RunRecord]:
        """Its runs, newest first."""
        return await self._store.history(record.id, before, limit)

    # ---- by hand

    async def run_now(self, record: ScheduleRecord) -> RunRecord:
        """A run at once, also of a paused schedule, whatever else runs."""
        now_s = self._now_s()
        self._check_function(record.namespace, record.function)
        run = await self._database.write(lambda connection: self._steps.run_now(connection, record, now_s))
        self._scheduler.touch(record.id)
        return run

    async def backfill(
        self, record: ScheduleRecord, from_s: float, to_s: float, *, dry_run: bool
    ) -> tuple[int, list[float]]:
        """Runs for the ticks from ``from_s`` to ``to_s`` that have none; how many were made, and the ticks."""
        now_s = self._now_s()
        if not from_s < to_s:
            raise InvalidInput(f"`from` must be before `to`, got {shown(from_s)} and {shown(to_s)}")
        if to_s > now_s:
            raise InvalidInput(
                f"a backfill ends in the past, and {shown(to_s)} is yet to come", hint="The schedule itself runs those."
            )
        ticks = await asyncio.to_thread(_between, Ticks(record.schedule), from_s, to_s)
        if not ticks:
            raise InvalidInput(f"{record.name} has no tick from {shown(from_s)} to {shown(to_s)}")
        if dry_run:
            return 0, ticks
        self._check_function(record.namespace, record.function)
        made = await self._database.write(lambda connection: self._steps.backfill(connection, record, ticks, now_s))
        self._scheduler.touch(record.id)
        return made, ticks

    def _check_function(self, namespace: str, function: str) -> None:
        if not self._has_function(namespace, function):
            raise NotFound(f"no function {namespace}/{function}", hint="`stoker list` shows what there is.")

    async def _write_change(self, record: ScheduleRecord, *, keeps_cursor: bool = True) -> None:
        """Write a change; the cursor may have moved since the record was read, and then stays where it is."""
        if keeps_cursor:
            found = await self._store.find(record.namespace, record.id)
            if found is not None:
                record = dataclasses.replace(record, cursor_s=found.cursor_s)
        await self._store.change(record)

    def _now_s(self) -> float:
        return self._clock.now().timestamp()


def _check_target(record: ScheduleRecord, now_s: float) -> None:
    if record.target.batch is not None:
        try:
            new_batch(record, Ticks(record.schedule).zone, now_s, now_s)
        except (TypeError, ValueError) as error:
            if isinstance(error, InvalidOption):
                raise
            raise InvalidInput(f"the batch run of the schedule is not understood: {error}") from error


def _between(ticks: Ticks, from_s: float, to_s: float) -> list[float]:
    """Every tick of a range, both ends included; raises ``InvalidInput`` with the count for too many."""
    found: list[float] = []
    count, last_s = 0, from_s
    for tick_s in ticks.after(from_s - 1e-6):
        if tick_s > to_s:
            break
        count, last_s = count + 1, tick_s
        if count <= MOST_BACKFILL:
            found.append(tick_s)
        if count >= _COUNTED:
            break
    if count > MOST_BACKFILL:
        share = (last_s - from_s) / (to_s - from_s)
        shown_count = f"{count}" if count < _COUNTED else f"about {round(count / share, -3):.0f}"
        raise InvalidInput(
            f"the range holds {shown_count} ticks, more than {MOST_BACKFILL}",
            hint="Take a shorter range, or a batch run over the data itself.",
        )
    return found
