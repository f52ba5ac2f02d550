"""Open-loop overload: three times what one replica can do, from clients that give up after five seconds.

Goodput is what came back with a result while the overload lasted; capacity is the closed-loop rate of the same function
in the same run. Every answer should be a result, 429 or 504, results within the deadline, and one second after the last
request of the overload new callers should get the full rate.

    python -m benchmarks.overload [--duration-s 30] [--short]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.serving import Served, stoker_platform
from benchmarks.table import markdown, write_results

WORK_MS = 4
SOURCE = f"""
import time

def work(x):
    until = time.perf_counter() + {WORK_MS} / 1000
    while time.perf_counter() < until:
        pass
    return x
"""
DEADLINE_MS = 2000
SHAPE = ("--patience-s", "5", "--aftermath-connections", "8")
EXPECTED = ("200", "429", "504")


def load(served: Served, *args: str) -> dict[str, object]:
    """One run of the load generator."""
    command = [sys.executable, "-m", "benchmarks.load_client", "--url", served.url, "--body", '{"x": 1}', *args]
    for header in (*served.headers, f"Stoker-Timeout-Ms: {DEADLINE_MS}"):
        command += ["--header", header]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration-s", type=float, default=30.0)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    duration_s = 5.0 if args.short else args.duration_s
    options = {"scaling": {"min_replicas": 1, "max_replicas": 1}, "max_queue_depth": 256}
    with stoker_platform({"work": SOURCE}, options) as served:
        work = served["work"]
        load(work, "--connections", "8", "--duration-s", "1")
        capacity = float(str(load(work, "--connections", "8", "--duration-s", "4")["rate_per_s"]))
        over = load(work, "--rate", str(3 * capacity), "--duration-s", str(duration_s), *SHAPE)
    statuses, per_second, after = over["statuses"], over["good_per_second"], over["aftermath_per_second"]
    assert isinstance(statuses, dict)
    assert isinstance(per_second, list)
    assert isinstance(after, list)
    goodput = sum(per_second[: round(duration_s)]) / round(duration_s)
    rows: list[dict[str, object]] = [
        {
            "capacity calls/s": round(capacity),
            "offered calls/s": round(3 * capacity),
            "seconds": round(duration_s),
            "goodput calls/s": round(goodput),
            "goodput / capacity": round(goodput / capacity, 2),
            "results p50 ms": round(float(str(over["p50_ms"]))),
            "results p99 ms": round(float(str(over["p99_ms"]))),
            "deadline ms": DEADLINE_MS,
            "answers": ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items())),
            "neither result, 429 nor 504": sum(statuses.values()) - sum(statuses.get(status, 0) for status in EXPECTED),
            "rate in the first and second second after / capacity": f"{after[0] / capacity:.2f}, "
            f"{after[1] / capacity:.2f}",
        }
    ]
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
