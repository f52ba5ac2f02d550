"""Schedules and their runs as rows: find, list, add, change, delete, look back.

The rule that must not break: rows are read and written here and in ``schedule_steps``, nowhere else.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any, Final

from stoker.errors import Conflict, NotFound
from stoker.schedule import schedule_to_json
from stoker_api.schedules.records import Origin, RunKind, RunRecord, RunState, ScheduleRecord, Target
from stoker_api.schedules.work import schedule_from
from stoker_api.stores.sqlite.database import Database, statements

SQL: Final = {name: text.rstrip().rstrip(";") for name, text in statements("schedules").items()}
_NEWEST: Final = 2**62


class SqliteScheduleStore:
    """What is asked of schedules outside their steps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, namespace: str | None = None) -> list[ScheduleRecord]:
        """By namespace and name."""
        row = {"namespace": namespace}
        return await self._database.read(
            lambda connection: [schedule_of(found) for found in connection.execute(SQL["all"], row)]
        )

    async def find(self, namespace: str, name: str) -> ScheduleRecord | None:
        """By name, or by id."""
        row = {"namespace": namespace, "name": name, "id": name}

        def work(connection: sqlite3.Connection) -> ScheduleRecord | None:
            found = connection.execute(SQL["by_name"], row).fetchone()
            if found is None:
                found = connection.execute(SQL["by_id"], row).fetchone()
            record = None if found is None else schedule_of(found)
            return record if record is not None and record.namespace == namespace else None

        return await self._database.read(work)

    async def add(self, record: ScheduleRecord) -> None:
        """Raises ``Conflict`` where the name is taken."""

        def work(connection: sqlite3.Connection) -> None:
            try:
                connection.execute(SQL["add"], _row_of(record))
            except sqlite3.IntegrityError as error:
                raise Conflict(
                    f"namespace {record.namespace!r} has a schedule {record.name!r}",
                    hint="Choose another name, or change that one: PATCH /v1/schedules/{name}.",
                ) from error

        await self._database.write(work)

    async def change(self, record: ScheduleRecord) -> None:
        """Write what may change; raises ``NotFound``."""

        def work(connection: sqlite3.Connection) -> None:
            if connection.execute(SQL["change"], _row_of(record)).rowcount != 1:
                raise NotFound(f"no schedule {record.name!r}")

        await self._database.write(work)

    async def delete(self, schedule_id: str) -> None:
        """With its history; what it started goes on."""
        await self._database.write(lambda connection: connection.execute(SQL["delete"], {"id": schedule_id}) and None)

    async def history(self, schedule_id: str, before: int | None, limit: int) -> list[RunRecord]:
        """Newest first."""
        row = {"schedule": schedule_id, "before": _NEWEST if before is None else before, "limit": limit}
        return await self._database.read(
            lambda connection: [run_of(found) for found in connection.execute(SQL["history"], row)]
        )

    async def works_to_cancel(self) -> list[str]:
        """Jobs and batch runs that must make way for a later run."""
        return await self._database.read(
            lambda connection: [str(found) for (found,) in connection.execute(SQL["to_cancel"])]
        )


def schedule_of(row: tuple[Any, ...]) -> ScheduleRecord:
    """A row of a schedule."""
    target = json.loads(row[6])
    return ScheduleRecord(
        id=row[0],
        namespace=row[1],
        name=row[2],
        origin=Origin(row[3]),
        function=row[4],
        schedule=schedule_from(row[5]),
        target=Target(**target),
        webhook_ids=tuple(json.loads(row[7])),
        is_paused=bool(row[8]),
        cursor_s=row[9],
        created_s=row[10],
        updated_s=row[11],
    )


def run_of(row: tuple[Any, ...]) -> RunRecord:
    """A row of a run."""
    return RunRecord(
        seq=row[0],
        id=row[1],
        schedule=row[2],
        tick_s=row[3],
        last_s=row[4],
        count=row[5],
        kind=RunKind(row[6]),
        state=RunState(row[7]),
        reason=row[8],
        decided_s=row[9],
        work_id=row[10],
        started_s=row[11],
        ended_s=row[12],
    )


def schedule_json(record: ScheduleRecord) -> str:
    """The schedule as it is kept."""
    return json.dumps(schedule_to_json(record.schedule), sort_keys=True)


def _row_of(record: ScheduleRecord) -> dict[str, object]:
    target = record.target
    return {
        "id": record.id,
        "namespace": record.namespace,
        "name": record.name,
        "origin": record.origin.value,
        "function": record.function,
        "schedule_json": schedule_json(record),
        "target_json": json.dumps(
            {"ref": target.ref, "batch": target.batch, "finish_within_s": target.finish_within_s}, sort_keys=True
        ),
        "webhook_ids_json": json.dumps(record.webhook_ids),
        "is_paused": int(record.is_paused),
        "cursor_s": record.cursor_s,
        "created_s": record.created_s,
        "updated_s": record.updated_s,
    }
