"""What one call costs: an echo through Stoker's full path beside a bare uvicorn ASGI echo, in one run.

Both servers run on core 0 (all their processes), the load generator on core 1. Rounds are interleaved; figures are
medians; ratios are taken between medians of the same run. Stoker answers with access control and receipts on, from
one worker process, for a function that is not declared ``idempotent``: short calls share frames all the same, since a
journal in shared memory tells what a lost worker had finished and begun.

    python -m benchmarks.overhead [--rounds 5] [--duration-s 4] [--short]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import cpu_seconds_of_tree
from benchmarks.serving import Served, bare_uvicorn, stoker_platform
from benchmarks.table import markdown, median, write_results

SOURCE = "def echo(x):\n    return x\n"
BODY = '{"x": 1}'
BARE = "bare uvicorn ASGI echo"


def load(served: Served, connections: int, duration_s: float, body: str = BODY, *more: str) -> dict[str, float]:
    """One closed-loop round; adds the server's CPU time per call. ``more``: further options of the load generator."""
    before_s = cpu_seconds_of_tree(served.pid)
    command = [sys.executable, "-m", "benchmarks.load_client", "--url", served.url, "--body", body]
    command += ["--connections", str(connections), "--duration-s", str(duration_s), *more]
    for header in served.headers:
        command += ["--header", header]
    done = subprocess.run(["taskset", "-c", "1", *command], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    result["server_cpu_us"] = (cpu_seconds_of_tree(served.pid) - before_s) / max(result["good"], 1) * 1e6
    return dict(result)


@contextlib.contextmanager
def servers() -> Iterator[dict[str, Served]]:
    """Both rivals, on core 0."""
    with contextlib.ExitStack() as stack:
        os.sched_setaffinity(0, {0})  # inherited by all that is started here
        bare = stack.enter_context(bare_uvicorn())
        one: dict[str, object] = {"scaling": {"min_replicas": 1, "max_replicas": 1}}
        stoker = stack.enter_context(stoker_platform({"echo": SOURCE}, one))
        yield {BARE: bare, "stoker": stoker["echo"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration-s", type=float, default=4.0)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    rounds, duration_s = (3, 1.5) if args.short else (args.rounds, args.duration_s)
    rows = []
    with servers() as rivals:
        for connections in (1, 64):
            runs: dict[str, list[dict[str, float]]] = {name: [] for name in rivals}
            for _ in range(rounds):
                for name, served in rivals.items():
                    runs[name].append(load(served, connections, duration_s))
            bare_rate = median(run["rate_per_s"] for run in runs[BARE])
            for name, results in runs.items():
                rate = median(run["rate_per_s"] for run in results)
                rows.append(
                    {
                        "server": name,
                        "connections": connections,
                        "calls/s": round(rate),
                        "ratio to bare": round(rate / bare_rate, 2),
                        "p50 ms": round(median(run["p50_ms"] for run in results), 3),
                        "p99 ms": round(median(run["p99_ms"] for run in results), 3),
                        "server CPU µs/call": round(median(run["server_cpu_us"] for run in results), 1),
                    }
                )
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
