"""Where one echo call's CPU time goes, phase by phase, in microseconds.

The path of a call is cut off after each phase (``call_stages``), each cut is loaded the same way, and a phase is what a
cut costs more than the one before. The whole platform with a real worker comes last. CPU time is the kernel's own count
(user and system, in ns) of each process, so waiting counts for nothing; servers run on core 0 and the load on core 1;
rounds are interleaved and medians taken. The bare uvicorn ASGI echo of the same run is there to compare with.

    python -m benchmarks.call_phases [--rounds 5] [--duration-s 3] [--short]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.call_stages import ANSWER, DISPATCH, LOOP, PARSE, PATH, ROUTE, STAGES, TOKEN
from benchmarks.overhead import BARE, BODY, load, servers
from benchmarks.processes import is_worker, process_tree
from benchmarks.serving import Served
from benchmarks.table import markdown, median, write_results

CONNECTIONS = 64
WHOLE = "stoker"


@dataclass(frozen=True)
class Cost:
    """CPU µs per call of the process that answers HTTP, and of the worker."""

    front_us: float
    worker_us: float


def cpu_us_of(pids: list[int]) -> float:
    """What these processes have run so far."""
    total = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(thread.read_text().split()[0])
    return total / 1e3


def cost(served: Served, duration_s: float) -> Cost:
    """One round."""
    tree = process_tree(served.pid)
    workers = [pid for pid in tree if is_worker(pid)] or tree[1:]
    front = [pid for pid in tree if pid not in workers]
    before = cpu_us_of(front), cpu_us_of(workers)
    calls = load(served, CONNECTIONS, duration_s, BODY)["good"]
    return Cost((cpu_us_of(front) - before[0]) / calls, (cpu_us_of(workers) - before[1]) / calls)


@contextlib.contextmanager
def stage(name: str) -> Iterator[Served]:
    """A cut of the path, served."""
    child = subprocess.Popen([sys.executable, "-m", "benchmarks.call_stages", name], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline().split()[0])
        url = f"http://127.0.0.1:{port}{PATH.decode()}"
        yield Served(url, child.pid, (f"Authorization: Bearer {TOKEN.decode()}",))
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def phases(costs: dict[str, list[Cost]]) -> list[dict[str, object]]:
    """The rows: each phase is what one cut costs more than the one before."""
    front = {name: median(cost.front_us for cost in rounds) for name, rounds in costs.items()}
    worker = {name: median(cost.worker_us for cost in rounds) for name, rounds in costs.items()}
    found = [
        ("gateway", "kernel and loop: read a request, write an answer", front[LOOP]),
        ("gateway", "HTTP: parse the request, keep the connection", front[PARSE] - front[LOOP]),
        ("gateway", "authenticate, route, make the invocation", front[ROUTE] - front[PARSE]),
        ("gateway", "receipt, head of the answer", front[ANSWER] - front[ROUTE]),
        ("gateway", "dispatcher and link, to the worker's socket and back", front[DISPATCH] - front[ANSWER]),
        (
            "gateway",
            "the platform around it: tokens, routes, pool; a worker with work of its own on the core",
            front[WHOLE] - front[DISPATCH],
        ),
        ("worker", "kernel and frames: read calls, write results", worker[DISPATCH]),
        ("worker", "decode, run, encode, journal", worker[WHOLE] - worker[DISPATCH]),
    ]
    rows: list[dict[str, object]] = [
        {"process": process, "phase": phase, "CPU µs per call": round(spent_us, 1)}
        for process, phase, spent_us in found
    ]
    whole_us = front[WHOLE] + worker[WHOLE]
    rows.append({"process": "both", "phase": "one echo call", "CPU µs per call": round(whole_us, 1)})
    rows.append({"process": "—", "phase": f"to compare: {BARE}", "CPU µs per call": round(front[BARE], 1)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration-s", type=float, default=3.0)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    rounds, duration_s = (3, 1.0) if args.short else (args.rounds, args.duration_s)
    with contextlib.ExitStack() as stack:
        os.sched_setaffinity(0, {0})
        rivals = {name: stack.enter_context(stage(name)) for name in STAGES} | stack.enter_context(servers())
        for served in rivals.values():
            cost(served, 0.5)
        costs: dict[str, list[Cost]] = {name: [] for name in rivals}
        for _ in range(rounds):
            for name, served in rivals.items():
                costs[name].append(cost(served, duration_s))
    rows = phases(costs)
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
