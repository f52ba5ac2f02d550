"""How many functions one platform holds: registered by the thousand, called at random, most of them asleep.

Each function is a few lines of its own. After registration some are called in random order, each from cold or warm as
it happens. The table says what registration and listing cost, what callers waited, and how much memory the processes of
the platform hold beside its workers (proportional set size; the zygote that workers are forked from is counted).

    python -m benchmarks.density [--functions 1000] [--calls 200] [--short]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.platform_client import PlatformClient
from benchmarks.processes import memory_bytes_of, process_tree
from benchmarks.serving import free_port, process
from benchmarks.table import markdown, median, write_results

OPTIONS = {"scaling": {"keep_alive_s": 1}}
MIB = 1024 * 1024


def worker_pids(platform: PlatformClient) -> set[int]:
    """The processes that run user code now."""
    document = platform.ask("GET", "/v1/pool")
    assert isinstance(document, dict)
    return {int(replica["pid"]) for replica in document["replicas"] if replica["pid"]}


def measure(functions: int, calls: int) -> list[dict[str, object]]:
    """Rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [sys.executable, "-m", "stoker.cli.main", "serve", "--port", str(port), "--data-dir", folder]
        with process(command, f"127.0.0.1:{port}") as server:
            token = json.loads(Path(folder, "connection.json").read_text())["token"]
            platform = PlatformClient(f"http://127.0.0.1:{port}", token)
            began = time.perf_counter()
            for number in range(functions):
                name = f"f{number}"
                source = f"def {name}(x):\n    return x + {number}\n"
                document = {"name": name, "source": source, "handler": name, "options": OPTIONS}
                platform.ask("POST", "/v1/functions?dry_run=false", document)
            register_s = time.perf_counter() - began
            took_ms, cold = [], 0
            for number in random.Random(7).choices(range(functions), k=calls):
                waited_ms, receipt = platform.timed_call(f"f{number}", {"x": 1})
                took_ms.append(waited_ms)
                cold += bool(receipt["cold"])
            began = time.perf_counter()
            listed = platform.ask("GET", "/v1/functions")
            list_s = time.perf_counter() - began
            assert isinstance(listed, dict)
            assert len(listed["functions"]) == functions
            workers = worker_pids(platform)
            own = sum(memory_bytes_of(pid) for pid in process_tree(server.pid) if pid not in workers)
    return [
        {"what": "registered functions", "figure": functions},
        {"what": "registration, each", "figure": f"{register_s / functions * 1000:.1f} ms"},
        {"what": f"{calls} calls at random (of them cold: {cold}), p50", "figure": f"{median(took_ms):.1f} ms"},
        {"what": "p99 of them", "figure": f"{sorted(took_ms)[int(0.99 * calls)]:.1f} ms"},
        {"what": "slowest of them", "figure": f"{max(took_ms):.1f} ms"},
        {"what": "list of all", "figure": f"{list_s:.3f} s"},
        {"what": "memory of platform and zygotes", "figure": f"{own / MIB:.0f} MiB"},
    ]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    rows = measure(*((200, 60) if args.short else (args.functions, args.calls)))
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
