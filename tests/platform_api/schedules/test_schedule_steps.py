"""Ticks in the store: once each, over crashes, two platforms, overlaps and ends, under a clock that a test moves."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stoker.errors import Conflict, InvalidInput, InvalidOption, NotFound
from stoker.schedule import Cron, Every, Schedule
from stoker_api.batches.records import NewBatch
from stoker_api.batches.states import BatchState
from stoker_api.schedules.opening import WorkEnds
from stoker_api.schedules.records import Origin, RunState, ScheduleRecord, Target
from stoker_api.schedules.scheduler import Scheduler, Started
from stoker_api.schedules.service import Schedules
from stoker_api.stores.sqlite.batches import SqliteBatchStore
from stoker_api.stores.sqlite.database import WORK, Database
from stoker_api.stores.sqlite.schedule_steps import Steps
from stoker_runtime.clock import VirtualClock

HOUR_S = 3600.0


@dataclass
class FakeOracle:
    """Remembers what is expected."""

    expected: dict[str, float] = field(default_factory=dict)

    def expect(self, namespace: str, name: str, at_s: float, *, source: str, until_s: float | None = None) -> None:
        self.expected[source] = at_s

    def unexpect(self, namespace: str, name: str, source: str) -> None:
        self.expected.pop(source, None)


@dataclass
class Rig:
    database: Database
    schedules: Schedules
    scheduler: Scheduler
    oracle: FakeOracle
    clock: VirtualClock
    canceled: list[str]
    steps: Steps
    read_ahead: list[NewBatch]

    async def make(self, schedule: Schedule, **more: object) -> ScheduleRecord:
        record = await self.schedules.create("default", "nightly", "f", schedule, **more)  # type: ignore[arg-type]
        await self.scheduler.step()
        return record

    async def forward(self, seconds: float) -> None:
        self.clock.advance(seconds)
        while await self.scheduler.step() == 0.0:
            pass

    async def jobs(self) -> list[tuple[str, bytes]]:
        return await self.database.read(
            lambda connection: connection.execute("SELECT id, body FROM jobs ORDER BY seq").fetchall()
        )

    async def end(self, work_id: str, state: str = "succeeded") -> None:
        now_s = self.clock.now().timestamp()
        found = await self.database.write(lambda connection: self.steps.end_work(connection, work_id, state, now_s))
        assert found is not None
        self.scheduler.ended(found)
        await self.scheduler.step()

    async def states(self, record: ScheduleRecord) -> list[str]:
        """Oldest first."""
        return [run.state.value for run in reversed(await self.schedules.history(record, None, 500))]


@contextlib.asynccontextmanager
async def rig(path: Path, clock: VirtualClock | None = None) -> AsyncIterator[Rig]:
    clock = clock or VirtualClock()
    async with Database(path, WORK) as database:
        steps, oracle = Steps(86_400.0), FakeOracle()
        canceled: list[str] = []

        async def cancel(work_id: str) -> None:
            canceled.append(work_id)

        read_ahead: list[NewBatch] = []
        started = Started(wake_work=lambda: None, cancel_work=cancel, read_ahead=read_ahead.append)
        scheduler = Scheduler(database, steps, oracle, started, clock)
        schedules = Schedules(database, steps, scheduler, clock, lambda namespace, name: name == "f")
        yield Rig(database, schedules, scheduler, oracle, clock, canceled, steps, read_ahead)


async def test_a_tick_makes_one_job_and_moves_on(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at:
        record = await at.make(Every(hours=1, arguments={"day": "{{ scheduled_time:%Y-%m-%dT%H }}"}))
        assert at.oracle.expected == {f"schedule:{record.id}": at.clock.now().timestamp() + HOUR_S}
        await at.forward(HOUR_S - 1)
        assert await at.jobs() == []
        await at.forward(1)
        ((job_id, body),) = await at.jobs()
        assert body == b'{"day": "2026-01-01T01"}'
        assert await at.states(record) == ["running"]
        await at.end(job_id)
        assert await at.states(record) == ["succeeded"]
        assert at.oracle.expected == {f"schedule:{record.id}": at.clock.now().timestamp() + HOUR_S}


async def test_the_input_of_a_batch_run_is_read_ahead_once_and_just_before_its_tick(tmp_path: Path) -> None:
    target = {"input": "/data/{{ scheduled_time:%H }}.jsonl"}
    async with rig(tmp_path / "work.db") as at:
        await at.make(Every(hours=1), target=Target(batch=target))
        await at.forward(HOUR_S - 31)
        assert at.read_ahead == []
        for _ in range(3):
            await at.forward(10)
        assert [spec.input for spec in at.read_ahead] == [("/data/01.jsonl",)]
        await at.forward(1)
        assert [spec.input for spec in at.read_ahead] == [("/data/01.jsonl",)]


async def test_what_was_undone_is_decided_again(tmp_path: Path) -> None:
    """A kill between the writes of a tick and its commit leaves nothing of it: the next step does all of it."""
    async with rig(tmp_path / "work.db") as at:
        record = await at.make(Every(hours=1))
        at.clock.advance(HOUR_S)
        now_s = at.clock.now().timestamp()

        def dies(connection: sqlite3.Connection) -> None:
            assert at.steps.tick(connection, record.id, now_s).started == 1
            raise OSError("killed")

        with pytest.raises(OSError, match="killed"):
            await at.database.write(dies)
        assert await at.jobs() == []
        await at.scheduler.step()
        assert len(await at.jobs()) == 1


async def test_a_restart_finds_what_was_missed_and_doubles_nothing(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with rig(tmp_path / "work.db", clock) as at:
        record = await at.make(Every(hours=1, overlap="allow", misfire="run_all"))
        await at.forward(HOUR_S)
    clock.advance(4 * HOUR_S)
    async with rig(tmp_path / "work.db", clock) as at:
        await at.forward(0)
        assert len(await at.jobs()) == 5
        assert await at.states(record) == ["running"] * 5


async def test_two_platforms_on_one_file_start_each_tick_once(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with rig(tmp_path / "work.db", clock) as one, rig(tmp_path / "work.db", clock) as two:
        await one.make(Cron("*/10 * * * *", overlap="allow"))
        for _ in range(30):
            clock.advance(600)
            await one.scheduler.step()
            await two.scheduler.step()
        assert len(await one.jobs()) == 30


async def test_a_clock_that_steps_back_and_forth_repeats_nothing(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with rig(tmp_path / "work.db", clock) as at:
        record = await at.make(Every(hours=1, overlap="allow", misfire="run_all"))
        await at.forward(3 * HOUR_S)
        clock._elapsed_s -= 2.5 * HOUR_S  # as when somebody sets the machine's clock
        await at.forward(0)
        await at.forward(1.5 * HOUR_S)
        assert len(await at.jobs()) == 3
        await at.forward(2 * HOUR_S)
        assert len(await at.jobs()) == 4
        ticks = [run.tick_s for run in await at.schedules.history(record, None, 99)]
        assert len(set(ticks)) == 4


async def test_skip_notes_the_ticks_that_met_a_run(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at:
        record = await at.make(Every(hours=1))
        for _ in range(4):
            await at.forward(HOUR_S)
        running, skipped = reversed(await at.schedules.history(record, None, 9))
        assert (running.state, skipped.state, skipped.count) == (RunState.RUNNING, RunState.SKIPPED, 3)
        assert "still running" in skipped.reason
        await at.end(running.work_id or "")
        await at.forward(HOUR_S)
        assert await at.states(record) == ["succeeded", "skipped", "running"]


async def test_queue_runs_them_one_after_another(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at:
        record = await at.make(Every(hours=1, overlap="queue"))
        for _ in range(3):
            await at.forward(HOUR_S)
        assert await at.states(record) == ["running", "waiting", "waiting"]
        for number in range(3):
            jobs = await at.jobs()
            assert len(jobs) == number + 1
            await at.end(jobs[-1][0])
        assert await at.states(record) == ["succeeded"] * 3


async def test_cancel_running_cancels_and_begins_when_that_has_ended(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at:
        record = await at.make(Every(hours=1, overlap="cancel_running"))
        await at.forward(HOUR_S)
        ((first, _),) = await at.jobs()
        await at.forward(HOUR_S)
        assert at.canceled == [first]
        await at.forward(HOUR_S)  # the next one takes the place of the one that waits
        assert await at.states(record) == ["running", "canceled", "waiting"]
        await at.end(first, "canceled")
        assert await at.states(record) == ["canceled", "canceled", "running"]


async def test_a_pause_counts_no_ticks_and_resuming_starts_from_now(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at:
        record = await at.make(Every(hours=1))
        record = await at.schedules.change(record, is_paused=True)
        await at.forward(5 * HOUR_S)
        assert at.oracle.expected == {}
        assert await at.jobs() == []
        assert at.schedules.coming(record) == []
        run = await at.schedules.run_now(record)
        assert (run.state, len(await at.jobs())) == (RunState.RUNNING, 1)
        record = await at.schedules.change(record, is_paused=False)
        await at.forward(HOUR_S - 1)
        assert len(await at.jobs()) == 1
        assert len(at.schedules.coming(record)) == 5


async def test_backfill_runs_what_has_no_run_one_after_another(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at:
        record = await at.make(Every(hours=1, arguments="{{ scheduled_time:%d %H:%M }}"))
        begin_s = at.clock.now().timestamp()
        await at.forward(10 * HOUR_S)
        skipped = len(await at.jobs())
        made, ticks = await at.schedules.backfill(record, begin_s - 3 * HOUR_S, begin_s + HOUR_S, dry_run=False)
        assert (made, len(ticks)) == (5, 5)
        again, _ = await at.schedules.backfill(record, begin_s - 3 * HOUR_S, begin_s + HOUR_S, dry_run=False)
        assert again == 0
        for _ in range(5):
            jobs = await at.jobs()
            await at.end(jobs[-1][0])
        bodies = [body for _, body in await at.jobs()][skipped:]
        assert bodies == [b'"31 21:00"', b'"31 22:00"', b'"31 23:00"', b'"01 00:00"', b'"01 01:00"']


async def test_a_backfill_of_a_million_ticks_is_refused_with_their_number(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at:
        record = await at.make(Every(seconds=1))
        now_s = at.clock.now().timestamp()
        with pytest.raises(InvalidInput, match="about 1000000 ticks, more than 10000"):
            await at.schedules.backfill(record, now_s - 999_999, now_s, dry_run=False)
        with pytest.raises(InvalidInput, match="50001 ticks"):
            await at.schedules.backfill(record, now_s - 50_000, now_s, dry_run=True)
        with pytest.raises(InvalidInput, match="yet to come"):
            await at.schedules.backfill(record, now_s, now_s + 100, dry_run=False)
        with pytest.raises(InvalidInput, match="`from` must be before `to`"):
            await at.schedules.backfill(record, now_s, now_s - 100, dry_run=False)


async def test_a_batch_run_gets_its_paths_and_deadline_from_the_tick(tmp_path: Path) -> None:
    target = Target(
        batch={"input": "in/{{ scheduled_time:%Y-%m-%d }}.jsonl", "output": "out/{{ scheduled_time:%d }}"},
        finish_within_s=600,
    )
    async with rig(tmp_path / "work.db") as at:
        await at.make(Cron("0 2 * * *", timezone="Asia/Kolkata"), target=target)
        await at.forward(86_400)
        ((spec,),) = await at.database.read(
            lambda connection: connection.execute("SELECT spec_json FROM batches").fetchall()
        )
    assert '"in/2026-01-02.jsonl"' in spec
    assert '"out/02"' in spec
    assert '"deadline_s":1767300000.0' in spec.replace(" ", "")


async def test_what_could_not_run_is_refused(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at:
        for schedule, message in (
            (Cron("0 0 30 2 *"), "never ticks"),
            (Cron("@daily", timezone="Mars/Base"), "no time zone"),
            (Cron("@daily", end="2020-01-01T00:00"), "has passed"),
            (Every(hours=1, arguments=["{{ tomorrow }}"]), "tomorrow"),
        ):
            with pytest.raises(InvalidOption, match=message):
                await at.schedules.create("default", "bad", "f", schedule)
        with pytest.raises(NotFound, match="no function default/g"):
            await at.schedules.create("default", "bad", "g", Every(hours=1))
        await at.schedules.create("default", "twice", "f", Every(hours=1))
        with pytest.raises(Conflict, match="has a schedule 'twice'"):
            await at.schedules.create("default", "twice", "f", Every(hours=1))


async def test_a_deleted_function_takes_its_schedule_along_and_pauses_others(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at:
        await at.schedules.create("default", "f", "f", Every(hours=1), origin=Origin.DEPLOY)
        await at.schedules.create("default", "mine", "f", Every(hours=1))
        await at.schedules.forget_function("default", "f")
        (left,) = await at.schedules.all("default")
        assert (left.name, left.is_paused) == ("mine", True)
        await at.scheduler.step()
        assert at.oracle.expected == {}


async def test_history_is_bounded(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at:
        record = await at.make(Every(seconds=1, overlap="allow", misfire="run_all"))
        await at.forward(1500)
        for job_id, _ in await at.jobs():
            await at.end(job_id)
        await at.forward(1)
        assert len(await at.schedules.history(record, None, 5000)) <= 1001


async def test_a_failed_run_and_a_late_one_are_told(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at:
        await at.database.write(
            lambda connection: (
                connection.execute(
                    "INSERT INTO webhook_endpoints VALUES "
                    "('hook_1', 'default', 'https://x.example', '', '[\"schedule.*\"]', x'', NULL, NULL, 1, '', 0, 0)"
                )
                and None
            )
        )
        await at.make(Every(hours=1))
        await at.forward(HOUR_S + 120)
        ((job_id, _),) = await at.jobs()
        await at.end(job_id, "timed_out")
        events = await at.database.read(
            lambda connection: [
                event for (event,) in connection.execute("SELECT event FROM webhook_deliveries ORDER BY seq")
            ]
        )
    assert events == ["schedule.run_late", "schedule.run_failed"]


async def test_a_schedule_that_this_machine_cannot_read_does_not_stop_the_others(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at:
        await at.schedules.create("default", "lost", "f", Cron("@hourly", timezone="Asia/Kolkata"))
        await at.make(Every(hours=1))
        await at.database.write(
            lambda connection: (
                connection.execute(
                    "UPDATE schedules SET schedule_json = replace(schedule_json, 'Asia/Kolkata', 'Asia/Gone')"
                )
                and None
            )
        )
        at.scheduler.touch("")
        for _ in range(3):
            await at.forward(HOUR_S)
            for job_id, _ in await at.jobs():
                await at.end(job_id)
        assert len(await at.jobs()) == 3
        found = await at.schedules.get("default", "lost")
        assert found.name == "lost"
        await at.schedules.delete(found)


async def test_a_batch_run_that_pauses_by_itself_is_told_and_goes_on(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at:
        ends = WorkEnds(at.steps, asyncio.get_running_loop())
        store = SqliteBatchStore(at.database)
        store.on_terminal.append(ends.batch_ended)
        await at.database.write(
            lambda connection: (
                connection.execute(
                    "INSERT INTO webhook_endpoints VALUES "
                    "('hook_1', 'default', 'https://x.example', '', '[\"schedule.*\"]', x'', NULL, NULL, 1, '', 0, 0)"
                )
                and None
            )
        )
        record = await at.make(Every(hours=1), target=Target(batch={"input": "x.jsonl"}))
        await at.forward(HOUR_S)
        (batch,) = await store.open()
        stuck = dataclasses.replace(batch, state=BatchState.PAUSED, problem={"detail": "no room"})
        await store.save(stuck, batch.state)
        bodies = await at.database.read(
            lambda connection: connection.execute("SELECT body FROM webhook_deliveries").fetchall()
        )
        assert [b'"work_state":"paused"' in body for (body,) in bodies] == [True]
        assert await at.states(record) == ["running"]
        done = dataclasses.replace(stuck, state=BatchState.SUCCEEDED, problem=None)
        await store.save(done, BatchState.PAUSED)
        assert await at.states(record) == ["succeeded"]
