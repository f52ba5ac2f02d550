"""Workers and zygotes killed at random (`kill -9`) under load: calls of an idempotent function that are lost.

Callers ask without a pause and check each answer. Meanwhile a random worker, whether it starts or works, or the zygote
that workers are forked from, is killed every few tenths of a second; nothing else helps the platform to find out. Lost
is every call without the right answer. The function has its default number of attempts.

    python -m benchmarks.kills [--duration-s 60] [--seed 1] [--short]
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from benchmarks.caller import Caller
from benchmarks.processes import is_worker, is_zygote, kill, process_tree
from benchmarks.serving import Served, stoker_platform
from benchmarks.table import markdown, write_results

CALLERS = 16
BETWEEN_KILLS_S = 0.3
ZYGOTE_SHARE = 0.2
"""Of the kills; the zygote takes all its workers with it."""
SOURCE = """
import time

def work(x):
    time.sleep(0.002)
    return x * 2
"""
OPTIONS = {"idempotent": True, "scaling": {"min_replicas": 2, "max_replicas": 2}}


@dataclass
class Outcome:
    """What came of the calls, and what was done meanwhile."""

    latency_ms: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    killed: Counter[str] = field(default_factory=Counter)


async def call_on(served: Served, stop_s: float, number: int, outcome: Outcome) -> None:
    """One caller, until the time is over."""
    async with Caller(served) as caller:
        while perf_counter() < stop_s:
            number += 1
            began = perf_counter()
            try:
                answer = await caller.ask(b'{"x": %d}' % number)
            except OSError as error:
                outcome.lost.append(repr(error))
                return
            if answer.status == 200 and int(answer.body) == number * 2:
                outcome.latency_ms.append((perf_counter() - began) * 1000)
            else:
                outcome.lost.append(f"{answer.status} {answer.body[:300]!r}")


async def kill_on(server_pid: int, stop_s: float, seed: int, killed: Counter[str]) -> None:
    """Kill until the time is over."""
    chance = random.Random(seed)
    while perf_counter() < stop_s:
        await asyncio.sleep(chance.uniform(0.3, 1.7) * BETWEEN_KILLS_S)
        name, is_kind = ("zygote", is_zygote) if chance.random() < ZYGOTE_SHARE else ("worker", is_worker)
        pids = [pid for pid in process_tree(server_pid) if is_kind(pid)]
        if pids:
            killed[name] += kill(chance.choice(pids), is_kind)


async def run(served: Served, duration_s: float, seed: int) -> Outcome:
    """The load and the kills."""
    outcome = Outcome()
    stop_s = perf_counter() + duration_s
    callers = [call_on(served, stop_s, number * 1_000_000, outcome) for number in range(CALLERS)]
    await asyncio.gather(kill_on(served.pid, stop_s, seed, outcome.killed), *callers)
    return outcome


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration-s", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    duration_s = 10.0 if args.short else args.duration_s
    with stoker_platform({"work": SOURCE}, OPTIONS) as served:
        outcome = asyncio.run(run(served["work"], duration_s, args.seed))
    for line in outcome.lost[:5]:
        print(f"lost: {line}")
    waited = sorted(outcome.latency_ms)
    rows: list[dict[str, object]] = [
        {
            "seconds": round(duration_s),
            "workers killed": outcome.killed["worker"],
            "zygotes killed": outcome.killed["zygote"],
            "calls answered": len(waited),
            "calls lost": len(outcome.lost),
            "calls/s": round(len(waited) / duration_s),
            "p50 ms": round(waited[len(waited) // 2], 1),
            "p99 ms": round(waited[int(0.99 * len(waited))], 1),
            "slowest ms": round(waited[-1]),
        }
    ]
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)
    if outcome.lost:
        raise SystemExit("calls were lost")


if __name__ == "__main__":
    main()
