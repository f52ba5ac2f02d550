"""Open-loop overload: three times what one replica can do, from clients that give up after five seconds.

Goodput is what came back with a result; capacity is the closed-loop rate of the same function in the same run. Every
answer should be a result, 429 or 504, and after the overload the full rate should be back within a second.

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
        over = load(work, "--rate", str(3 * capacity), "--duration-s", str(duration_s), "--patience-s", "5")
        after = float(str(load(work, "--connections", "8", "--duration-s", "1")["rate_per_s"]))
    statuses = over["statuses"]
    assert isinstance(statuses, dict)
    goodput = float(str(over["good"])) / duration_s
    rows: list[dict[str, object]] = [
        {
            "capacity calls/s": round(capacity),
            "offered calls/s": round(3 * capacity),
            "goodput calls/s": round(goodput),
            "goodput / capacity": round(goodput / capacity, 2),
            "results p99 ms": round(float(str(over["p99_ms"]))),
            "deadline ms": DEADLINE_MS,
            "answers": ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items())),
            "rate in the first second after / capacity": round(after / capacity, 2),
        }
    ]
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
