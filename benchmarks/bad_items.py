"""One bad item in fifty under batching: how many good items suffer, and what isolation costs.

A batched function whose execution time is a + b per item raises for the whole batch when it meets a bad item, as
model code does: either before the work (a check, a tokenizer) or after it (the worst case: what failed cost as much as
what succeeded), or puts an exception in the list of its answers, which costs nothing. Good items must all be answered;
the rate is set beside the same load without bad items, and beside the most that any order of runs could reach when
all that a run tells is that it failed (docs/decisions/0011 has the proof).

    python -m benchmarks.bad_items [--duration-s 5] [--short]
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections import Counter
from pathlib import Path
from time import perf_counter

from benchmarks.caller import Caller
from benchmarks.serving import Served, stoker_platform
from benchmarks.table import markdown, median, write_results

SOURCE = """
import time

def score(x):
    until = time.perf_counter() + 0.004 + 0.0005 * len(x)
    while time.perf_counter() < until:
        pass
    if any(item < 0 for item in x):
        raise ValueError("a negative item")
    return [item * 2 for item in x]
"""
EARLY_SOURCE = """
import time

def check(x):
    if any(item < 0 for item in x):
        raise ValueError("a negative item")
    until = time.perf_counter() + 0.004 + 0.0005 * len(x)
    while time.perf_counter() < until:
        pass
    return [item * 2 for item in x]
"""
LISTED_SOURCE = """
import time

def listed(x):
    until = time.perf_counter() + 0.004 + 0.0005 * len(x)
    while time.perf_counter() < until:
        pass
    return [item * 2 if item >= 0 else ValueError("a negative item") for item in x]
"""
BAD_SHARE = 1 / 50
LARGEST = 32


def most_with_dear_failures() -> float:
    """No order of runs reaches a larger ratio if a failed run costs as much as a good one of its size."""
    good_share = 1 - BAD_SHARE
    per_good_item = min((4 + 0.5 * size) / (size * good_share**size) for size in range(1, LARGEST + 1))
    return (4 / LARGEST + 0.5) / (per_good_item * good_share)


async def caller(
    served: Served, stop_s: float, bad_share: float, seed: int, tally: Counter[str], body_form: str
) -> None:
    """One connection that asks again as soon as it is answered."""
    chance = random.Random(seed)
    async with Caller(served) as connection:
        while perf_counter() < stop_s:
            is_bad = chance.random() < bad_share
            answer = await connection.ask(body_form.format(item=-1 if is_bad else 1).encode())
            tally[f"{'bad' if is_bad else 'good'} {answer.status}"] += 1


async def run(
    served: Served, bad_share: float, duration_s: float, seed: int, body_form: str = '{{"x": {item}}}'
) -> Counter[str]:
    """64 callers for a while."""
    tally: Counter[str] = Counter()
    stop_s = perf_counter() + duration_s
    await asyncio.gather(*(caller(served, stop_s, bad_share, seed + number, tally, body_form) for number in range(64)))
    return tally


def measure(served: Served, duration_s: float) -> dict[str, object]:
    """Three interleaved rounds without and with bad items."""
    clean: list[Counter[str]] = []
    mixed: list[Counter[str]] = []
    asyncio.run(run(served, 0.0, 1.0, 0))
    for number in range(3):
        clean.append(asyncio.run(run(served, 0.0, duration_s, number)))
        mixed.append(asyncio.run(run(served, BAD_SHARE, duration_s, number)))
    rate = median(tally["good 200"] / duration_s for tally in clean)
    mixed_rate = median(sum(tally.values()) / duration_s for tally in mixed)
    good = sum(count for tally in mixed for name, count in tally.items() if name.startswith("good"))
    return {
        "calls/s, no bad items": round(rate),
        "calls/s, 1 bad in 50": round(mixed_rate),
        "ratio": round(mixed_rate / rate, 2),
        "good items": good,
        "good items failed": good - sum(tally["good 200"] for tally in mixed),
        "bad items answered with their own error": sum(tally["bad 500"] for tally in mixed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration-s", type=float, default=5.0)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    duration_s = 2.0 if args.short else args.duration_s
    options = {"scaling": {"min_replicas": 1, "max_replicas": 1}, "batch": {"max_batch_size": LARGEST}}
    ways = {
        "before the work": ("check", EARLY_SOURCE, 1.0),
        "after the work": ("score", SOURCE, most_with_dear_failures()),
        "in the list of answers": ("listed", LISTED_SOURCE, 1.0),
    }
    with stoker_platform({name: source for name, source, _ in ways.values()}, options) as served:
        rows = [
            {"the bad item raises": way, **measure(served[name], duration_s), "largest ratio possible": round(most, 2)}
            for way, (name, _, most) in ways.items()
        ]
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
