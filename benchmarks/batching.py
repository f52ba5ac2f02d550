"""MiniLM sentence embeddings with dynamic batching beside the offline throughput of the same model.

Offline: a plain process that runs the example's class over batches of 32 texts, one intra-op thread. Stoker: the same
class behind its URL, 64 connections, one replica; the platform's and the worker's processes share core 0 and the load
generator has core 1. Rounds are interleaved; figures are medians; the ratio is taken in the same run.

    python -m benchmarks.batching [--rounds 3] [--duration-s 8] [--short]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.embedding_example import EXAMPLE, FRESH, environment_python
from benchmarks.overhead import load
from benchmarks.platform_client import PlatformClient
from benchmarks.serving import Served, free_port, process
from benchmarks.table import markdown, median, write_results

TEXT = "The fireman feeds the fire a little and often, and never lets the bed grow thick under the arch."
OFFLINE = (
    FRESH
    + """
import time
texts = [sys.argv[2]] * 32
model(texts)
done, began, cpu_began = 0, time.perf_counter(), time.process_time()
while time.perf_counter() - began < float(sys.argv[3]):
    done += len(model(texts))
print(done / (time.perf_counter() - began), (time.process_time() - cpu_began) / done * 1e3)
"""
)


def offline_run(python: str, duration_s: float) -> tuple[float, float]:
    """Texts per second of the bare model in batches of 32, on core 0, and CPU milliseconds for each."""
    command = ["taskset", "-c", "0", python, "-c", OFFLINE, str(EXAMPLE), TEXT, str(duration_s)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rate, cpu_ms = done.stdout.split()[-2:]
    return float(rate), float(cpu_ms)


def measure(rounds: int, duration_s: float) -> list[dict[str, object]]:
    """Rows of the table."""
    os.sched_setaffinity(0, {0})  # inherited by the platform and its workers
    offline: list[tuple[float, float]] = []
    served_runs: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        stoker = [sys.executable, "-m", "stoker.cli.main"]
        serve = [*stoker, "serve", "--port", str(port), "--data-dir", folder]
        with process(serve, f"127.0.0.1:{port}") as child:
            connection = json.loads(Path(folder, "connection.json").read_text())
            env = {**os.environ, "STOKER_DATA_DIR": folder}
            subprocess.run([*stoker, "deploy", str(EXAMPLE)], check=True, env=env, stdout=subprocess.DEVNULL)
            PlatformClient(connection["url"], connection["token"]).timed_call("embed", {"text": TEXT})
            header = f"Authorization: Bearer {connection['token']}"
            served = Served(f"http://127.0.0.1:{port}/f/embed", child.pid, (header,))
            python = environment_python(folder)
            load(served, 64, 2.0, json.dumps({"text": TEXT}))
            for _ in range(rounds):
                offline.append(offline_run(python, duration_s))
                served_runs.append(load(served, 64, duration_s, json.dumps({"text": TEXT}), "--finish"))
    bare, rate = median(one[0] for one in offline), median(run["rate_per_s"] for run in served_runs)
    return [
        {
            "offline texts/s (batches of 32)": round(bare, 1),
            "stoker texts/s (64 connections)": round(rate, 1),
            "ratio": round(rate / bare, 3),
            "p50 ms": round(median(run["p50_ms"] for run in served_runs)),
            "p99 ms": round(median(run["p99_ms"] for run in served_runs)),
            "offline CPU ms/text": round(median(one[1] for one in offline), 2),
            "stoker CPU ms/text": round(median(run["server_cpu_us"] for run in served_runs) / 1000, 2),
        }
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration-s", type=float, default=8.0)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    rows = measure(3, 3.0) if args.short else measure(args.rounds, args.duration_s)
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
