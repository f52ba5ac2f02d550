"""What large bodies cost: an echo of bytes from 1 KiB to 64 MiB through Stoker's full path beside a bare uvicorn.

A body is read from its connection, given to the worker process, given back by it and written again; the bare uvicorn
has one process and reads and writes only. Both run on core 0, the load generator on core 1; rounds are interleaved,
figures are medians. A MB is a million bytes of the body, counted once though it goes in and comes out; the CPU time is
that of all processes of the server, workers included. Copies held are how far their resident memory rose at its peak,
in bodies of one size for each connection; a process that keeps what it freed for the next body shows less.

    python -m benchmarks.payloads [--rounds 3] [--duration-s 3] [--short]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.overhead import servers
from benchmarks.processes import cpu_seconds_of_tree, forget_peaks, peak_bytes, process_tree
from benchmarks.serving import Served
from benchmarks.table import markdown, median, write_results

KIB = 1024
SIZES = {"1 KiB": KIB, "64 KiB": 64 * KIB, "1 MiB": KIB**2, "16 MiB": 16 * KIB**2, "64 MiB": 64 * KIB**2}
MANY, FEW = 16, 2
"""Connections: as many as keep the server busy without holding gigabytes."""


def load(served: Served, body_file: Path, duration_s: float) -> dict[str, float]:
    """One closed-loop round: millions of bytes per second, CPU microseconds for each million, milliseconds."""
    size = body_file.stat().st_size
    pids = process_tree(served.pid)
    held_bytes, before_s = forget_peaks(pids), cpu_seconds_of_tree(served.pid)
    command = [sys.executable, "-m", "benchmarks.load_client", "--url", served.url, "--body-file", str(body_file)]
    connections = MANY if size <= KIB**2 else FEW
    command += ["--duration-s", str(duration_s), "--connections", str(connections), "--finish"]
    for header in (*served.headers, "Content-Type: application/octet-stream"):
        command += ["--header", header]
    done = subprocess.run(["taskset", "-c", "1", *command], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    if set(result["statuses"]) != {"200"}:
        raise RuntimeError(f"{served.url}: {result['statuses']}")
    megabytes = result["good"] * size / 1e6
    return {
        "MB/s": megabytes / result["took_s"],
        "CPU µs/MB": (cpu_seconds_of_tree(served.pid) - before_s) / megabytes * 1e6,
        "p50 ms": result["p50_ms"],
        "p99 ms": result["p99_ms"],
        "copies held": (peak_bytes(pids) - held_bytes) / size / connections,
    }


def figures(middle: dict[str, float], bare_cpu: float, size: int) -> dict[str, object]:
    """The columns, rounded."""
    return {
        "MB/s": round(middle["MB/s"], None if middle["MB/s"] >= 100 else 1),
        "CPU µs/MB": round(middle["CPU µs/MB"]),
        "CPU / bare": round(middle["CPU µs/MB"] / bare_cpu, 2),
        "p50 ms": round(middle["p50 ms"], 2),
        "p99 ms": round(middle["p99 ms"], 2),
        "copies held": round(middle["copies held"], 1) if size >= KIB**2 else "–",
    }


def measure(rounds: int, duration_s: float) -> list[dict[str, object]]:
    """Rows of the table."""
    rows: list[dict[str, object]] = []
    with servers() as rivals, tempfile.TemporaryDirectory() as folder:
        for shown, size in SIZES.items():
            body_file = Path(folder, "body")
            body_file.write_bytes(bytes(range(256)) * (size // 256))
            runs: dict[str, list[dict[str, float]]] = {name: [] for name in rivals}
            for _ in range(rounds):
                for name, served in rivals.items():
                    runs[name].append(load(served, body_file, duration_s))
            first = next(iter(rivals))
            bare_cpu = median(run["CPU µs/MB"] for run in runs[first])
            for name, results in runs.items():
                middle = {key: median(run[key] for run in results) for key in results[0]}
                rows.append({"body": shown, "server": name, **figures(middle, bare_cpu, size)})
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration-s", type=float, default=3.0)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    rows = measure(3, 1.0) if args.short else measure(args.rounds, args.duration_s)
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
