"""Five years of 200 schedules in six time zones under a virtual clock: every tick beside what the cron library says.

Each schedule is planned by the code that plans in production, which is handed the time in uneven steps: on time, late,
after nights without a platform, and over clocks that are put back and forth. What it decided to run must be the
library's ticks, all of them, once each and in order.

    python -m benchmarks.schedules [--short]
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone
from itertools import takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

from cronsim import CronSim

from benchmarks.table import markdown, write_results
from stoker.schedule import Cron
from stoker_api.schedules.planner import Action, ScheduleView, plan
from stoker_api.schedules.ticks import Ticks

ZONES = ("UTC", "Asia/Kolkata", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago")
BEGIN_S = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
YEAR_S = 365.25 * 86_400
SCHEDULES = 200
FORMS = (
    lambda draw: f"{draw(0, 59)} {draw(0, 23)} * * *",
    lambda draw: f"{draw(0, 59)} {draw(0, 4)} * * *",  # where clocks change
    lambda draw: f"{draw(0, 59)} 0-5 * * {draw(0, 6)}",
    lambda draw: f"{draw(0, 59)} * * * *",
    lambda draw: f"*/{draw(10, 40)} * * * *",
    lambda draw: f"{draw(0, 59)} */{draw(2, 8)} * * *",
    lambda draw: f"{draw(0, 59)} {draw(0, 23)} {draw(1, 28)} * *",
    lambda draw: f"{draw(0, 59)} {draw(0, 23)} L {draw(1, 12)} *",
    lambda draw: f"{draw(0, 59)} {draw(0, 23)} * * {draw(0, 6)}#{draw(1, 5)}",
    lambda draw: f"{draw(0, 29)},{draw(30, 59)} {draw(1, 3)} * * MON-FRI",
)
"""Ten kinds of lines, each with its numbers drawn."""


def planned(line: str, zone: str, years: float, seed: int) -> Iterator[float]:
    """The ticks that the planner decides to run, as time goes on in uneven steps."""
    random_source = random.Random(seed)
    schedule = Cron(line, timezone=zone, overlap="allow", misfire="run_all")
    ticks = Ticks(schedule)
    now_s = cursor_s = BEGIN_S
    end_s = BEGIN_S + years * YEAR_S
    while now_s < end_s:
        step_s = random_source.choice((random_source.uniform(0, 7200), 86_400.0, random_source.uniform(-7200, 40_000)))
        now_s = min(now_s + step_s, end_s)
        while True:
            done = plan(ScheduleView(schedule_id="s", schedule=schedule, cursor_s=cursor_s), ticks, now_s)
            assert all(decision.action is Action.START for decision in done.decisions)
            yield from (decision.tick_s for decision in done.decisions)
            cursor_s = done.cursor_s
            if done.wake_s is None or done.wake_s > now_s:
                break


def compare(number: int, years: float) -> tuple[str, str, int, bool]:
    """One schedule against the library iterated straight through: its zone, its line, its ticks, whether they agree."""
    random_source = random.Random(number)
    zone = ZONES[number % len(ZONES)]
    line = FORMS[number % len(FORMS)](random_source.randint)
    end_s = BEGIN_S + years * YEAR_S
    straight = (moment.timestamp() for moment in CronSim(line, datetime.fromtimestamp(BEGIN_S, ZoneInfo(zone))))
    expected = [at_s for at_s in takewhile(lambda at_s: at_s <= end_s, straight) if at_s > BEGIN_S]
    return zone, line, len(expected), list(planned(line, zone, years, number)) == expected


def main() -> None:
    """Compare all of them; the exit code is 1 if any tick is off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="30 schedules for one year")
    args = parser.parse_args()
    count, years = (30, 1.0) if args.short else (SCHEDULES, 5.0)
    began = time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(compare, range(count), [years] * count))
    took_s = time.perf_counter() - began
    rows = [
        {
            "time zone": zone,
            "schedules": sum(1 for found in results if found[0] == zone),
            "years": years,
            "ticks": sum(ticks for found, _, ticks, _ in results if found == zone),
            "schedules with a tick off": sum(1 for found in results if found[0] == zone and not found[3]),
        }
        for zone in ZONES
    ]
    print(markdown(rows))
    print(f"\n{sum(found[2] for found in results)} ticks in {took_s:.0f} s of real time")
    off = [(zone, line) for zone, line, _, is_same in results if not is_same]
    if off:
        raise SystemExit(f"off: {off}")
    if not args.short:
        write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
