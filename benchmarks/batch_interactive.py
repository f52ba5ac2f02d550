"""What interactive callers wait with and without a batch run that saturates the function's only replica.

The function sleeps 10 ms and 1 ms for each item, batches of 32 at most: one call takes 11 ms, a full batch 42 ms.
Calls arrive at random (Poisson), 20 a second, from a process of their own; first alone, then while a batch run without
a deadline is at work. The target: p99 with the run is at most 1.5 times the p99 without it plus one full batch.

    python -m benchmarks.batch_interactive [--duration-s 60] [--short]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.platform_client import PlatformClient
from benchmarks.serving import free_port, process, register
from benchmarks.table import markdown, write_results

SOURCE = """
import time

def work(x: list[int]) -> list[int]:
    time.sleep(0.010 + 0.001 * len(x))
    return x
"""
BATCH_MS, RATE_PER_S = 42.0, 20.0


def call_at_random(client: PlatformClient, duration_s: float, seed: int) -> list[float]:
    """Milliseconds of each call, measured from when it was due."""
    chance, taken = random.Random(seed), []
    with ThreadPoolExecutor(64) as pool:

        def one(due_s: float) -> None:
            client.ask("POST", "/f/work", {"x": 1})
            taken.append((time.perf_counter() - due_s) * 1000)

        due_s = time.perf_counter()
        end_s = due_s + duration_s
        while (due_s := due_s + chance.expovariate(RATE_PER_S)) < end_s:
            threading.Event().wait(max(0.0, due_s - time.perf_counter()))
            pool.submit(one, due_s)
    return sorted(taken)


def quantile(taken: list[float], share: float) -> float:
    """Of sorted values."""
    return taken[min(len(taken) - 1, int(share * len(taken)))]


def measure(duration_s: float) -> list[dict[str, object]]:
    """Rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "stoker.cli.main",
            "serve",
            "--port",
            str(port),
            "--data-dir",
            f"{folder}/data",
        ]
        with process(command, f"127.0.0.1:{port}", {"STOKER_BATCH_ROOTS": folder}):
            connection = json.loads(Path(folder, "data/connection.json").read_text())
            options = {"batch": {"max_batch_size": 32}, "scaling": {"max_replicas": 1, "min_replicas": 1}}
            register(
                port, connection["token"], {"name": "work", "source": SOURCE, "handler": "work", "options": options}
            )
            client = PlatformClient(connection["url"], connection["token"])
            call_at_random(client, 2.0, 0)
            alone = call_at_random(client, duration_s, 1)
            Path(folder, "in.jsonl").write_text("".join(f'{{"x": {number}}}\n' for number in range(1_000_000)))
            spec = {"function": "work", "input": f"{folder}/in.jsonl", "output": f"{folder}/out"}
            made = client.ask("POST", "/v1/batches", spec)
            assert isinstance(made, dict)
            call_at_random(client, 2.0, 0)
            before = _done(client, made["id"])
            together = call_at_random(client, duration_s, 1)
            rows_per_s = (_done(client, made["id"]) - before) / duration_s
            client.ask("POST", f"/v1/batches/{made['id']}/cancel", {})
    allowed = 1.5 * quantile(alone, 0.99) + BATCH_MS
    rows = []
    for name, taken, rate in (("alone", alone, 0.0), ("beside a batch run", together, rows_per_s)):
        rows.append(
            {
                "interactive calls": name,
                "calls": len(taken),
                "p50 ms": round(quantile(taken, 0.5), 1),
                "p99 ms": round(quantile(taken, 0.99), 1),
                "allowed p99 ms": round(allowed, 1) if rate else "",
                "batch rows/s": round(rate),
            }
        )
    return rows


def _done(client: PlatformClient, batch_id: str) -> int:
    document = client.ask("GET", f"/v1/batches/{batch_id}")
    assert isinstance(document, dict)
    return int(document["progress"]["done"])


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration-s", type=float, default=60.0)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    rows = measure(8.0 if args.short else args.duration_s)
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
