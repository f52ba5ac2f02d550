"""First calls that find no replica, a thousand times and several at once: how many are lost, and how long they wait.

Several functions scale to zero the moment they are idle (`keep_alive_s=0`). On each of them a few callers ask at once,
again and again, some while the last replica still drains. A trial is such a group of calls of which at least one was
cold. In the second row workers are killed (`kill -9`) at a random instant of their first milliseconds, while they load
or in their first call; the function is idempotent, so these calls must be answered as well. Between two kills every
function starts well once, since three failed starts in a row are a crash loop. Lost is every call without the right
answer.

    python -m benchmarks.scale_from_zero [--trials 1000] [--seed 1] [--short]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

from benchmarks.caller import Caller
from benchmarks.processes import is_worker, kill, process_tree
from benchmarks.serving import Served, stoker_platform
from benchmarks.table import markdown, write_results

FUNCTIONS = 8
MOST_CALLERS = 4
KILLED_SHARE = 0.4
"""Of the trials, those in the row with kills."""
YOUNG_S = 0.015
SOURCE = "def f{number}(x):\n    return x * 2\n"
OPTIONS = {"idempotent": True, "scaling": {"keep_alive_s": 0, "max_replicas": 2}}


@dataclass
class Outcome:
    """What came of the calls of one row."""

    trials: int = 0
    killed: int = 0
    first_ms: list[float] = field(default_factory=list)
    calls: int = 0
    lost: list[str] = field(default_factory=list)
    untouched: set[str] = field(default_factory=set)
    """Functions that had no trial since the last kill."""
    proved: asyncio.Event = field(default_factory=asyncio.Event)
    """All of them had one."""

    def end_trial(self, name: str) -> None:
        self.trials += 1
        self.untouched.discard(name)
        if not self.untouched:
            self.proved.set()


async def first_call(caller: Caller, number: int, outcome: Outcome) -> bool:
    """One call; whether it was cold."""
    began = perf_counter()
    outcome.calls += 1
    try:
        answer = await caller.ask(b'{"x": %d}' % number)
    except OSError as error:
        outcome.lost.append(repr(error))
        return False
    document = json.loads(answer.body)
    if answer.status != 200 or document["result"] != number * 2:
        outcome.lost.append(f"{answer.status} {answer.body[:300]!r}")
        return False
    is_cold = bool(document["receipt"]["cold"])
    if is_cold:
        outcome.first_ms.append((perf_counter() - began) * 1000)
    return is_cold


async def callers_of(served: Served, trials: int, seed: int, outcome: Outcome) -> None:
    """Trials on one function until there were enough."""
    chance = random.Random(seed)
    with_receipt = replace(served, headers=(*served.headers, "Stoker-Receipt: 1"))
    callers = [Caller(with_receipt) for _ in range(MOST_CALLERS)]
    for caller in callers:
        await caller.__aenter__()
    while outcome.trials < trials:
        group = callers[: chance.randint(1, MOST_CALLERS)]
        cold = await asyncio.gather(*(first_call(caller, chance.randrange(1000), outcome) for caller in group))
        if any(cold):
            outcome.end_trial(served.url)
        await asyncio.sleep(chance.choice((0.0, chance.uniform(0.0, 0.05))))
    for caller in callers:
        await caller.__aexit__(None, None, None)


@asynccontextmanager
async def killing(served: list[Served], seed: int, outcome: Outcome) -> AsyncIterator[None]:
    """Meanwhile, now and then a worker that has just been forked is killed."""
    chance = random.Random(seed)

    async def kill_young() -> None:
        while True:
            known = set(process_tree(served[0].pid))
            new: list[int] = []
            while not new:  # /proc tells nobody of a new process
                await asyncio.sleep(0.001)
                new = [pid for pid in process_tree(served[0].pid) if pid not in known and is_worker(pid)]
            await asyncio.sleep(chance.uniform(0.0, YOUNG_S))
            outcome.untouched = {one.url for one in served}
            outcome.proved.clear()
            outcome.killed += kill(chance.choice(new), is_worker)
            await outcome.proved.wait()

    task = asyncio.create_task(kill_young())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def run(served: list[Served], trials: int, seed: int, *, kills: bool) -> Outcome:
    """One row's calls."""
    outcome = Outcome()
    everyone = [callers_of(one, trials, seed + number, outcome) for number, one in enumerate(served)]
    if kills:
        async with killing(served, seed, outcome):
            await asyncio.gather(*everyone)
    else:
        await asyncio.gather(*everyone)
    return outcome


def row(name: str, outcome: Outcome) -> dict[str, object]:
    """As shown; the first of what was lost goes to the terminal."""
    for line in outcome.lost[:5]:
        print(f"lost: {line}")
    waited = sorted(outcome.first_ms)
    return {
        "workers": name,
        "trials": outcome.trials,
        "killed": outcome.killed,
        "calls": outcome.calls,
        "of them cold": len(waited),
        "lost": len(outcome.lost),
        "cold p50 ms": round(waited[len(waited) // 2], 1),
        "cold p99 ms": round(waited[int(0.99 * len(waited))], 1),
        "slowest ms": round(waited[-1], 1),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    trials = 200 if args.short else args.trials
    with_kills = int(trials * KILLED_SHARE)
    sources = {f"f{number}": SOURCE.format(number=number) for number in range(FUNCTIONS)}
    with stoker_platform(sources, OPTIONS) as platform:
        served = list(platform.values())
        rows = [
            row("left alone", asyncio.run(run(served, trials - with_kills, args.seed, kills=False))),
            row("killed at random while young", asyncio.run(run(served, with_kills, args.seed, kills=True))),
        ]
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)
    if any(row["lost"] for row in rows):
        raise SystemExit("calls were lost")


if __name__ == "__main__":
    main()
