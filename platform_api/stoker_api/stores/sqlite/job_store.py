"""The stores of jobs on SQLite: for those who submit and look, and for those who run.

The rule that must not break: a move is one statement that names the state, runner and run it starts from, so that of
two who would move a job one does, and the other is told that it did not.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence

from stoker.errors import NotFound
from stoker_api.jobs.ports import NewEvent, Purged
from stoker_api.jobs.records import (
    ClaimedJob,
    EventKind,
    JobEnd,
    JobEvent,
    JobFilter,
    JobRecord,
    JobResult,
    LaneView,
    NewJob,
)
from stoker_api.jobs.states import JobPriority, JobState, check_move
from stoker_api.stores.sqlite.database import Database
from stoker_api.stores.sqlite.jobs import RECORD_COLUMNS, SQL, add_event_row, event_of, put_job, record_of

Row = tuple[object, ...]
OnTerminal = Callable[[sqlite3.Connection, JobRecord], None]
"""Called inside the transaction that ends a job."""


class SqliteJobStore:
    """Implements ``JobStore`` and ``RunStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.on_terminal: list[OnTerminal] = []

    # ---- submit and look

    async def submit(self, job: NewJob, now_s: float) -> tuple[JobRecord, bool]:
        return await self._database.write(lambda connection: put_job(connection, job, now_s))

    async def find(self, job_id: str) -> JobRecord | None:
        def work(connection: sqlite3.Connection) -> JobRecord | None:
            row = connection.execute(SQL["find_job"], {"id": job_id}).fetchone()
            return None if row is None else record_of(row)

        return await self._database.read(work)

    async def body(self, job_id: str) -> tuple[bytes, str | None]:
        row = await self._database.read(lambda connection: connection.execute(SQL["body"], {"id": job_id}).fetchone())
        if row is None:
            raise _missing(job_id)
        return row[0], row[1]

    async def result(self, job_id: str) -> JobResult | None:
        row = await self._database.read(lambda connection: connection.execute(SQL["result"], {"id": job_id}).fetchone())
        return None if row is None else JobResult(body=row[0] or b"", content_type=row[1], status=row[2], blob=row[3])

    async def find_all(self, wanted: JobFilter, before_seq: int | None, limit: int) -> list[JobRecord]:
        conditions, values = _conditions(wanted, before_seq)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        sql = f"{SQL['select_jobs']}{where} ORDER BY seq DESC LIMIT :limit"

        def work(connection: sqlite3.Connection) -> list[JobRecord]:
            return [record_of(row) for row in connection.execute(sql, {**values, "limit": limit}).fetchall()]

        return await self._database.read(work)

    async def events(self, job_id: str, after: int, limit: int) -> list[JobEvent]:
        row = {"id": job_id, "after": after, "limit": limit}
        return await self._database.read(
            lambda connection: [event_of(found) for found in connection.execute(SQL["events"], row).fetchall()]
        )

    async def add_events(self, job_id: str, events: Sequence[NewEvent], kept: int) -> None:
        def work(connection: sqlite3.Connection) -> None:
            record = _find(connection, job_id)
            if record.has_ended:
                return
            number = record.last_event
            for event in events:
                (number,) = connection.execute(SQL["next_event"], {"seq": record.seq}).fetchone()
                add_event_row(connection, record.seq, number, event.at_s, event.kind, event.data)
                if event.kind is EventKind.PROGRESS:
                    row = {"seq": record.seq, "progress": event.data["fraction"], "message": event.data["message"]}
                    connection.execute(SQL["note_progress"], row)
            connection.execute(SQL["drop_events"], {"seq": record.seq, "number": number, "kept": kept})

        await self._database.write(work)

    async def cancel(self, job_id: str, now_s: float) -> JobRecord:
        def work(connection: sqlite3.Connection) -> JobRecord:
            before = _find(connection, job_id)
            check_move(job_id, before.state, JobState.CANCELED)
            record = _moved(connection, "cancel", {"id": job_id, "now_s": now_s}, now_s)
            assert record is not None
            self._tell(connection, record)
            return record

        return await self._database.write(work)

    async def revive(self, job_id: str, now_s: float, edit: NewJob | None) -> JobRecord:
        def work(connection: sqlite3.Connection) -> JobRecord:
            before = _find(connection, job_id)
            check_move(job_id, before.state, JobState.QUEUED)
            if edit is not None:
                changed = {"id": job_id, "body": edit.body, "body_blob": edit.body_blob, "digest": edit.digest()}
                connection.execute(SQL["replace_body"], {**changed, "content_type": edit.content_type})
            row = {"id": job_id, "now_s": now_s, "before": before.state.value}
            record = _moved(connection, "revive", row, now_s, {"redriven": True})
            assert record is not None
            return record

        return await self._database.write(work)

    async def open_jobs(self) -> dict[tuple[str, str, str], int]:
        rows = await self._database.read(lambda connection: connection.execute(SQL["open_jobs"]).fetchall())
        return {(namespace, function, state): count for namespace, function, state, count in rows}

    # ---- run

    async def due_lanes(self, now_s: float) -> list[LaneView]:
        def work(connection: sqlite3.Connection) -> list[LaneView]:
            rows = connection.execute(SQL["due_lanes"], {"now_s": now_s}).fetchall()
            return [LaneView(lane=r[0], namespace=r[1], function=r[2], priority=JobPriority(r[3])) for r in rows]

        return await self._database.read(work)

    async def upcoming(self, now_s: float) -> dict[tuple[str, str], float]:
        rows = await self._database.read(
            lambda connection: connection.execute(SQL["upcoming"], {"now_s": now_s}).fetchall()
        )
        return {(namespace, function): at_s for namespace, function, at_s in rows}

    async def claim(self, runner: str, wanted: Mapping[int, int], now_s: float) -> list[ClaimedJob]:
        def work(connection: sqlite3.Connection) -> list[ClaimedJob]:
            claimed = []
            for lane, limit in wanted.items():
                row = {"runner": runner, "lane": lane, "limit": limit, "now_s": now_s}
                for found in connection.execute(SQL["claim"], row).fetchall():
                    record = record_of(found)
                    _add_state_event(connection, record, now_s, {})
                    claimed.append(ClaimedJob(record=record, body=found[RECORD_COLUMNS], body_blob=found[-1]))
            return sorted(claimed, key=lambda job: (job.record.priority, job.record.seq))

        return await self._database.write(work)

    async def note_running(self, runner: str, job_id: str, run: int, now_s: float) -> bool:
        row = _run_row(runner, job_id, run)
        row |= {"state": JobState.RUNNING.value, "before": JobState.STARTING.value}
        record = await self._database.write(lambda connection: _moved(connection, "move", row, now_s))
        return record is not None

    async def put_back(
        self, runner: str, job_id: str, run: int, *, not_before_s: float, now_s: float, counts: bool, reason_json: str
    ) -> JobRecord | None:
        row = _run_row(runner, job_id, run)
        row |= {"not_before_s": not_before_s, "uncounted": 0 if counts else 1, "problem_json": reason_json}
        extra = {"not_before_s": not_before_s, "reason": json.loads(reason_json)}
        return await self._database.write(lambda connection: _moved(connection, "put_back", row, now_s, extra))

    async def end(self, runner: str, job_id: str, run: int, end: JobEnd, now_s: float) -> JobRecord | None:
        row = _run_row(runner, job_id, run)
        row |= {
            "state": end.state.value,
            "now_s": now_s,
            "result": end.result,
            "result_blob": end.result_blob,
            "result_bytes": end.result_bytes,
            "result_type": end.result_type,
            "result_status": end.result_status,
            "problem_json": end.problem_json,
            "receipt_json": end.receipt_json,
        }

        def work(connection: sqlite3.Connection) -> JobRecord | None:
            record = _moved(connection, "end_run", row, now_s)
            if record is not None:
                self._tell(connection, record)
            return record

        return await self._database.write(work)

    async def renew(self, runner: str, lease_until_s: float) -> None:
        row = {"runner": runner, "lease_until_s": lease_until_s}
        await self._database.write(lambda connection: connection.execute(SQL["renew"], row).rowcount)

    async def leave(self, runner: str) -> None:
        await self._database.write(lambda connection: connection.execute(SQL["leave"], {"runner": runner}).rowcount)

    async def orphans(self, runner: str, alive_s: float, limit: int) -> list[JobRecord]:
        row = {"runner": runner, "alive_s": alive_s, "limit": limit}
        return await self._database.read(
            lambda connection: [record_of(found) for found in connection.execute(SQL["orphans"], row).fetchall()]
        )

    async def held(self, runner: str) -> dict[str, int]:
        return await self._database.read(
            lambda connection: dict(connection.execute(SQL["held"], {"runner": runner}).fetchall())
        )

    async def expire(self, now_s: float, problem_json: str, limit: int) -> list[JobRecord]:
        def work(connection: sqlite3.Connection) -> list[JobRecord]:
            ids = connection.execute(SQL["expired"], {"now_s": now_s, "limit": limit}).fetchall()
            ended = []
            for (job_id,) in ids:
                row = {"id": job_id, "now_s": now_s, "problem_json": problem_json}
                record = _moved(connection, "expire", row, now_s)
                if record is not None:
                    self._tell(connection, record)
                    ended.append(record)
            return ended

        return await self._database.write(work)

    # ---- clean up

    async def purge(self, ended_before_s: Mapping[JobState, float], limit: int) -> list[Purged]:
        def work(connection: sqlite3.Connection) -> list[Purged]:
            purged: list[Purged] = []
            for state, finished_s in ended_before_s.items():
                row = {"state": state.value, "finished_s": finished_s, "limit": limit}
                purged += _delete(connection, connection.execute(SQL["ended_before"], row).fetchall())
            return purged

        return await self._database.write(work)

    async def purge_largest(self, over_bytes: int, limit: int) -> list[Purged]:
        def work(connection: sqlite3.Connection) -> list[Purged]:
            chosen, freed = [], 0
            for row in connection.execute(SQL["oldest_results"], {"limit": limit}).fetchall():
                if freed >= over_bytes:
                    break
                freed += record_of(row).result_bytes
                chosen.append(row)
            return _delete(connection, chosen)

        return await self._database.write(work)

    async def kept_bytes(self) -> int:
        return await self._database.read(lambda connection: int(connection.execute(SQL["kept_bytes"]).fetchone()[0]))

    async def blobs(self) -> set[str]:
        return await self._database.read(
            lambda connection: {str(row[0]) for row in connection.execute(SQL["blobs"]).fetchall()}
        )

    def _tell(self, connection: sqlite3.Connection, record: JobRecord) -> None:
        for hook in self.on_terminal:
            hook(connection, record)


def _find(connection: sqlite3.Connection, job_id: str) -> JobRecord:
    row = connection.execute(SQL["find_job"], {"id": job_id}).fetchone()
    if row is None:
        raise _missing(job_id)
    return record_of(row)


def _missing(job_id: str) -> NotFound:
    return NotFound(
        f"no job {job_id!r}", hint="GET /v1/jobs lists them; what has ended is forgotten after a while.", phase="job"
    )


def _moved(
    connection: sqlite3.Connection,
    statement: str,
    row: Mapping[str, object],
    now_s: float,
    extra: Mapping[str, object] | None = None,
) -> JobRecord | None:
    found = connection.execute(SQL[statement], row).fetchall()
    if not found:
        return None
    record = record_of(found[0])
    _add_state_event(connection, record, now_s, extra or {})
    return record


def _add_state_event(
    connection: sqlite3.Connection, record: JobRecord, now_s: float, extra: Mapping[str, object]
) -> None:
    data: dict[str, object] = {"state": record.state.value, "attempt": record.attempts, **extra}
    if record.has_ended and record.problem_json is not None:
        problem = json.loads(record.problem_json)
        data["problem"] = {key: problem.get(key) for key in ("code", "detail", "hint")}
    add_event_row(connection, record.seq, record.last_event, now_s, EventKind.STATE, data)


def _delete(connection: sqlite3.Connection, rows: Sequence[Row]) -> list[Purged]:
    purged = []
    for row in rows:
        record = record_of(row)
        blobs = tuple(str(name) for name in row[RECORD_COLUMNS:] if name is not None)
        if connection.execute(SQL["delete_job"], {"id": record.id}).rowcount == 1:
            purged.append(Purged(id=record.id, blobs=blobs, result_bytes=record.result_bytes))
    return purged


def _run_row(runner: str, job_id: str, run: int) -> dict[str, object]:
    return {"runner": runner, "id": job_id, "run": run}


def _conditions(wanted: JobFilter, before_seq: int | None) -> tuple[list[str], dict[str, object]]:
    """The WHERE of a list. Values never become part of the text."""
    pairs: list[tuple[str, str, object]] = [
        ("namespace = :namespace", "namespace", wanted.namespace),
        ("function = :function", "function", wanted.function),
        ("source = :source", "source", wanted.source),
        ("created_s >= :since_s", "since_s", wanted.since_s),
        ("created_s < :until_s", "until_s", wanted.until_s),
        ("seq < :before_seq", "before_seq", before_seq),
    ]
    conditions = [text for text, _, value in pairs if value is not None]
    values = {name: value for _, name, value in pairs if value is not None}
    for name, options in (("state", sorted(state.value for state in wanted.states)), ("namespace", wanted.namespaces)):
        if options is None or (name == "state" and not options):
            continue
        marks = [f":{name}_{index}" for index in range(len(options))]
        conditions.append(f"{name} IN ({', '.join(marks)})")
        values |= {f"{name}_{index}": option for index, option in enumerate(options)}
    return conditions, values
