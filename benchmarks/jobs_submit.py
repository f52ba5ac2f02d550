"""Durable submits per second (`Prefer: respond-async`, on disk before the 202), beside SQLite's own limit on that disk.

SQLite alone is measured in the same run, on the same file system, with the platform's own schema and statements: one
job per fsync'd commit, and 32 per commit, which is the most that group commit could give 32 clients. Jobs that wait
are for a function that is busy; jobs that run are executed meanwhile, on the same cores.

    python -m benchmarks.jobs_submit [--duration-s 5] [--rounds 3] [--short]
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import sqlite3
import tempfile
from pathlib import Path
from time import perf_counter, time

from benchmarks.caller import Caller
from benchmarks.serving import Served, stoker_platform
from benchmarks.table import markdown, median, write_results
from stoker_api.ids import new_id
from stoker_api.jobs.records import NewJob
from stoker_api.stores.sqlite.database import WORK, Database
from stoker_api.stores.sqlite.jobs import insert_job

CLIENTS = 32
BODY = b'{"text": "an input of a size that is common for a function", "n": 1}'
BUSY = """
import time

def busy(text, n):
    time.sleep(1)
    return n
"""
QUICK = """
def quick(text, n):
    return n
"""


def sqlite_rate(per_commit: int, duration_s: float) -> float:
    """Jobs per second that SQLite itself takes, with nothing around it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "work.db")
        asyncio.run(_make(path))
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        began, count = perf_counter(), 0
        while perf_counter() - began < duration_s:
            connection.execute("BEGIN IMMEDIATE")
            for _ in range(per_commit):
                now_s = time()
                job = NewJob(id=new_id("job", now_s), namespace="default", function="busy", body=BODY)
                insert_job(connection, job, now_s)
                count += 1
            connection.execute("COMMIT")
        took_s = perf_counter() - began
        connection.close()
    return count / took_s


async def _make(path: Path) -> None:
    async with Database(path, WORK):
        pass


async def submits(served: Served, clients: int, duration_s: float) -> tuple[float, float]:
    """Submits per second, and the median wait in milliseconds."""
    asks = dataclasses.replace(served, headers=(*served.headers, "Prefer: respond-async"))
    stop_s = perf_counter() + duration_s
    waits: list[float] = []

    async def client() -> None:
        async with Caller(asks) as caller:
            while perf_counter() < stop_s:
                began = perf_counter()
                answer = await caller.ask(BODY)
                assert answer.status == 202, answer
                waits.append((perf_counter() - began) * 1000)

    await asyncio.gather(*(client() for _ in range(clients)))
    return len(waits) / duration_s, median(waits)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration-s", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    rounds, duration_s = (1, 2.0) if args.short else (args.rounds, args.duration_s)
    rates: dict[tuple[str, int], list[float]] = {}
    waits: dict[tuple[str, int], list[float]] = {}
    with stoker_platform({"busy": BUSY, "quick": QUICK}, {"idempotent": True, "max_queue_depth": 16}) as served:
        for _ in range(rounds):
            for clients in (1, CLIENTS):
                rates.setdefault(("SQLite alone", clients), []).append(sqlite_rate(clients, duration_s))
                for name, what in (("busy", "jobs that wait"), ("quick", "jobs that run meanwhile")):
                    rate, wait_ms = asyncio.run(submits(served[name], clients, duration_s))
                    rates.setdefault((what, clients), []).append(rate)
                    waits.setdefault((what, clients), []).append(wait_ms)
    rows: list[dict[str, object]] = []
    for (what, clients), taken in sorted(rates.items(), key=lambda item: item[0][1]):
        own = median(rates["SQLite alone", clients])
        found = waits.get((what, clients))
        rows.append(
            {
                "what": what,
                "clients (jobs a commit, for SQLite alone)": clients,
                "submits/s": round(median(taken)),
                "of SQLite's own": f"{median(taken) / own:.0%}",
                "p50 ms": "" if found is None else round(median(found), 2),
            }
        )
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
