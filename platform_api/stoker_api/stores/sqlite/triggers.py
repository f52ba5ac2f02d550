"""Triggers as rows.

The rule that must not break: a name is used once in a namespace.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from stoker.errors import Conflict, NotFound
from stoker_api.stores.sqlite.database import Database, statements
from stoker_api.triggers.records import Kind, Passed, Start, TriggerRecord

_SQL: Final = {name: text.rstrip().rstrip(";") for name, text in statements("triggers").items()}


class SqliteTriggerStore:
    """All triggers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[TriggerRecord]:
        """By namespace and name."""
        return await self._database.read(
            lambda connection: [_record(row) for row in connection.execute(_SQL["all"]).fetchall()]
        )

    async def add(self, record: TriggerRecord) -> None:
        """Raises ``Conflict`` where the name is taken."""
        row = _row(record)

        def work(connection: sqlite3.Connection) -> None:
            try:
                connection.execute(_SQL["add"], row)
            except sqlite3.IntegrityError:
                raise Conflict(
                    f"namespace {record.namespace!r} has a trigger {record.name!r}",
                    hint="Take another name, or delete that one first.",
                ) from None

        await self._database.write(work)

    async def change(self, record: TriggerRecord) -> None:
        """Write what may change of it; raises ``NotFound``."""
        await self._changing_one("change", _row(record), record.name)

    async def delete(self, record: TriggerRecord) -> None:
        """Raises ``NotFound``."""
        await self._changing_one("delete", {"id": record.id}, record.name)

    async def _changing_one(self, statement: str, row: Mapping[str, object], name: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL[statement], row).rowcount != 1:
                raise NotFound(f"no trigger {name!r}", hint="`stoker triggers list` shows what there is.")

        await self._database.write(work)


def _row(record: TriggerRecord) -> dict[str, object]:
    return {
        "id": record.id,
        "namespace": record.namespace,
        "name": record.name,
        "kind": record.kind.value,
        "function": record.function,
        "ref": record.ref,
        "method": record.method,
        "url_sealed": record.url_sealed,
        "shown_url": record.shown_url,
        "topic": record.topic,
        "consumer_group": record.group,
        "results": record.results,
        "dead_letters": record.dead_letters,
        "passed": record.passed.value,
        "start": record.start.value,
        "max_in_flight": record.max_in_flight,
        "max_attempts": record.max_attempts,
        "reply_type": record.reply_type,
        "is_paused": int(record.is_paused),
        "created_s": record.created_s,
        "updated_s": record.updated_s,
    }


def _record(row: tuple[Any, ...]) -> TriggerRecord:
    return TriggerRecord(
        id=row[0],
        namespace=row[1],
        name=row[2],
        kind=Kind(row[3]),
        function=row[4],
        ref=row[5],
        method=row[6],
        url_sealed=row[7],
        shown_url=row[8],
        topic=row[9],
        group=row[10],
        results=row[11],
        dead_letters=row[12],
        passed=Passed(row[13]),
        start=Start(row[14]),
        max_in_flight=row[15],
        max_attempts=row[16],
        reply_type=row[17],
        is_paused=bool(row[18]),
        created_s=row[19],
        updated_s=row[20],
    )
