"""The steps of a schedule, each for one transaction: ticks decided, runs started, ended, made by hand.

The rule that must not break: a tick's row, the job or batch run that it starts, and the cursor move together or not at
all. SQLite lets one writer in at a time, so two platforms on one file decide each tick once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final

from stoker_api.ids import new_id
from stoker_api.schedules.planner import OVERLAPPED, Action, Decision, ScheduleView, plan
from stoker_api.schedules.records import (
    OUTCOMES,
    STILL,
    Counted,
    Ended,
    RunKind,
    RunRecord,
    RunState,
    ScheduleRecord,
    Ticked,
)
from stoker_api.schedules.ticks import jitter_of
from stoker_api.schedules.work import new_batch, new_job, ticks_of
from stoker_api.stores.sqlite.batches import insert_batch
from stoker_api.stores.sqlite.jobs import insert_job
from stoker_api.stores.sqlite.schedules import SQL, run_of, schedule_json, schedule_of
from stoker_api.stores.sqlite.webhooks import tell
from stoker_api.webhooks.records import Event

RUNS_KEPT: Final = 1000
"""Of each schedule, in its history."""
REPLACED: Final = "a later run took its place"


@dataclass(frozen=True, slots=True)
class Steps:
    """What every step needs to know of the settings."""

    give_up_after_s: float

    def tick(self, connection: sqlite3.Connection, schedule_id: str, now_s: float) -> Ticked:
        """Decide what is due; what came of it."""
        record = _find(connection, schedule_id)
        if record is None or record.is_paused:
            return STILL
        schedule, ticks = ticks_of(schedule_json(record))
        running, waiting = _open_runs(connection, schedule_id, is_backfill=False)
        view = ScheduleView(
            schedule_id=schedule_id, schedule=schedule, cursor_s=record.cursor_s, running=running, waiting=waiting
        )
        planned = plan(view, ticks, now_s)
        counted = Counted(namespace=record.namespace, function=record.function)
        started = sum(self._decided(connection, record, decision, now_s, counted) for decision in planned.decisions)
        if planned.cursor_s != record.cursor_s:
            connection.execute(SQL["move_cursor"], {"id": schedule_id, "cursor_s": planned.cursor_s})
            connection.execute(SQL["prune"], {"schedule": schedule_id, "kept": RUNS_KEPT})
        expected_s = None
        if planned.next_s is not None:
            expected_s = planned.next_s + jitter_of(schedule_id, planned.next_s, schedule.jitter_s)
        has_cancels = any(decision.action is Action.REPLACE for decision in planned.decisions)
        return Ticked(
            wake_s=planned.wake_s, expected_s=expected_s, started=started, has_cancels=has_cancels, counted=counted
        )

    def end_work(
        self,
        connection: sqlite3.Connection,
        work_id: str,
        state: str,
        now_s: float,
        problem: Mapping[str, object] | None = None,
    ) -> Ended | None:
        """A job or batch run ended: so does its run, and one that waited for it begins; None: no schedule's."""
        found = connection.execute(SQL["run_of_work"], {"work_id": work_id}).fetchone()
        if found is None:
            return None
        run, outcome = run_of(found), OUTCOMES[state]
        reason = str((problem or {}).get("detail") or "") if outcome is RunState.FAILED else run.reason
        row = {"seq": run.seq, "state": outcome.value, "reason": reason[:1000], "now_s": now_s}
        connection.execute(SQL["end_run"], row)
        record = _find(connection, run.schedule)
        if record is None:
            return None
        if outcome is RunState.FAILED:
            more = {"work_state": state, "problem": dict(problem or {})}
            self._tell(connection, "schedule.run_failed", record, run, now_s, more)
        counted = Counted(namespace=record.namespace, function=record.function, ended=outcome)
        self._begin_waiting(connection, record, now_s, counted, is_backfill=run.kind is RunKind.BACKFILL)
        return Ended(schedule_id=record.id, run_id=run.id, counted=counted)

    def tell_stuck(
        self, connection: sqlite3.Connection, work_id: str, now_s: float, problem: Mapping[str, object] | None
    ) -> None:
        """A batch run has paused by itself: its run goes on once somebody resumes it, and until then holds others."""
        found = connection.execute(SQL["run_of_work"], {"work_id": work_id}).fetchone()
        record = None if found is None else _find(connection, found[2])
        if record is not None:
            more = {"work_state": "paused", "problem": dict(problem or {})}
            self._tell(connection, "schedule.run_failed", record, run_of(found), now_s, more)

    def run_now(self, connection: sqlite3.Connection, record: ScheduleRecord, now_s: float) -> RunRecord:
        """A run by hand, at once, whatever else runs."""
        seq = _add_run(connection, record.id, Decision(tick_s=now_s, action=Action.START), RunKind.MANUAL, now_s)
        assert seq is not None
        self._begin(connection, record, seq, now_s, _uncounted(record))
        return run_of(connection.execute(SQL["run"], {"seq": seq}).fetchone())

    def backfill(
        self, connection: sqlite3.Connection, record: ScheduleRecord, ticks: Iterable[float], now_s: float
    ) -> int:
        """Runs for ticks that have none; one after another, unless the schedule lets them overlap. How many."""
        made = 0
        for tick_s in ticks:
            decision = Decision(tick_s=tick_s, action=Action.WAIT)
            seq = _add_run(connection, record.id, decision, RunKind.BACKFILL, now_s)
            made += seq is not None
            if seq is not None and record.schedule.overlap == "allow":
                self._begin(connection, record, seq, now_s, _uncounted(record))
        self._begin_waiting(connection, record, now_s, _uncounted(record), is_backfill=True)
        return made

    def _decided(
        self,
        connection: sqlite3.Connection,
        record: ScheduleRecord,
        decision: Decision,
        now_s: float,
        counted: Counted,
    ) -> int:
        if decision.action is Action.SKIP:
            _skip(connection, record.id, decision, now_s)
            is_overlap = decision.reason == OVERLAPPED
            counted.skipped += decision.count if is_overlap else 0
            counted.missed += 0 if is_overlap else decision.count
            return 0
        if decision.action is Action.REPLACE:
            row = {"schedule": record.id, "reason": REPLACED, "now_s": now_s}
            counted.skipped += connection.execute(SQL["drop_waiting"], row).rowcount
            connection.execute(SQL["ask_cancel"], row)
        seq = _add_run(connection, record.id, decision, RunKind.TICK, now_s)
        if seq is None or decision.action is Action.WAIT:
            return 0
        if decision.action is Action.REPLACE:  # it begins when the one before has really ended
            return self._begin_waiting(connection, record, now_s, counted, is_backfill=False)
        self._begin(connection, record, seq, now_s, counted)
        return 1

    def _begin_waiting(
        self,
        connection: sqlite3.Connection,
        record: ScheduleRecord,
        now_s: float,
        counted: Counted,
        *,
        is_backfill: bool,
    ) -> int:
        """Begin the run that waits longest, if nothing runs any more."""
        running, _ = _open_runs(connection, record.id, is_backfill=is_backfill)
        row = {"schedule": record.id, "is_backfill": int(is_backfill)}
        found = None if running else connection.execute(SQL["next_waiting"], row).fetchone()
        if found is None:
            return 0
        self._begin(connection, record, found[0], now_s, counted)
        return 1

    def _begin(
        self, connection: sqlite3.Connection, record: ScheduleRecord, seq: int, now_s: float, counted: Counted
    ) -> None:
        run = run_of(connection.execute(SQL["run"], {"seq": seq}).fetchone())
        _, ticks = ticks_of(schedule_json(record))
        if record.target.batch is None:
            job = new_job(record, ticks.zone, run.tick_s, now_s)
            work_id = job.id
            insert_job(connection, job, now_s)
        else:
            batch = new_batch(record, ticks.zone, run.tick_s, now_s)
            work_id = batch.id
            insert_batch(connection, batch, now_s)
        connection.execute(SQL["begin"], {"seq": seq, "work_id": work_id, "now_s": now_s})
        due_s = run.tick_s + jitter_of(record.id, run.tick_s, record.schedule.jitter_s)
        if run.kind is not RunKind.TICK:
            return
        counted.late_s.append(max(0.0, now_s - due_s))
        if now_s - due_s > record.schedule.late_after_s:
            begun = run_of(connection.execute(SQL["run"], {"seq": seq}).fetchone())
            self._tell(connection, "schedule.run_late", record, begun, now_s, {"late_s": now_s - due_s})

    def _tell(
        self,
        connection: sqlite3.Connection,
        kind: str,
        record: ScheduleRecord,
        run: RunRecord,
        now_s: float,
        more: Mapping[str, object],
    ) -> None:
        moment = datetime.fromtimestamp(run.tick_s, timezone.utc)
        data = {
            "schedule": record.name,
            "schedule_id": record.id,
            "namespace": record.namespace,
            "function": record.function,
            "run": run.id,
            "kind": run.kind.value,
            "scheduled_time": moment.isoformat(timespec="seconds"),
            "work": run.work_id,
            **more,
        }
        event = Event(
            id=new_id("msg", now_s),
            namespace=record.namespace,
            type=kind,
            subject=record.id,
            data=data,
            targets=record.webhook_ids,
        )
        tell(connection, event, now_s, self.give_up_after_s)


def _uncounted(record: ScheduleRecord) -> Counted:
    """Of runs by hand, which are no ticks."""
    return Counted(namespace=record.namespace, function=record.function)


def _find(connection: sqlite3.Connection, schedule_id: str) -> ScheduleRecord | None:
    found = connection.execute(SQL["by_id"], {"id": schedule_id}).fetchone()
    return None if found is None else schedule_of(found)


def _open_runs(connection: sqlite3.Connection, schedule_id: str, *, is_backfill: bool) -> tuple[int, int]:
    """How many run, and how many wait."""
    row = {"schedule": schedule_id, "is_backfill": int(is_backfill)}
    counts = dict(connection.execute(SQL["open_runs"], row).fetchall())
    return counts.get(RunState.RUNNING.value, 0), counts.get(RunState.WAITING.value, 0)


def _add_run(
    connection: sqlite3.Connection, schedule_id: str, decision: Decision, kind: RunKind, now_s: float
) -> int | None:
    """A run that waits; None where its tick has one already."""
    row = {
        "id": new_id("run", now_s),
        "schedule": schedule_id,
        "tick_s": decision.tick_s,
        "last_s": decision.tick_s,
        "count": 1,
        "kind": kind.value,
        "once_key": None if kind is RunKind.MANUAL else f"{decision.tick_s:.3f}",
        "state": RunState.WAITING.value,
        "reason": decision.reason,
        "decided_s": now_s,
        "ended_s": None,
    }
    found = connection.execute(SQL["add_run"], row).fetchone()
    return None if found is None else int(found[0])


def _skip(connection: sqlite3.Connection, schedule_id: str, decision: Decision, now_s: float) -> None:
    """Note ticks that do not run; those in a row, for one reason, in one row."""
    row = {
        "schedule": schedule_id,
        "tick_s": decision.tick_s,
        "last_s": decision.last_s,
        "count": decision.count,
        "decided_s": now_s,
    }
    newest = connection.execute(SQL["newest_run"], row).fetchone()
    if newest is not None and newest[1:] == (RunState.SKIPPED.value, decision.reason, RunKind.TICK.value):
        connection.execute(SQL["lengthen_skip"], {**row, "seq": newest[0]})
        return
    more = {
        "id": new_id("run", now_s),
        "kind": RunKind.TICK.value,
        "once_key": None,
        "state": RunState.SKIPPED.value,
        "reason": decision.reason,
        "ended_s": now_s,
    }
    connection.execute(SQL["add_run"], {**row, **more}).fetchone()
