"""When a scheduled call of a cold function begins: milliseconds from the tick to the first line of user code.

The function's replica takes a while to load and is let go soon after each call, so it is cold between ticks: the table
says how much of that time it had a replica. Beside it, the same function is called by a client at such an instant,
with nobody who saw the call coming.

    python -m benchmarks.schedule_start [--ticks 20] [--short]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.platform_client import PlatformClient
from benchmarks.serving import free_port, process
from benchmarks.table import markdown, median, write_results

SOURCE = """
import stoker
import time

class Model:
    @stoker.enter
    def load(self):
        until = time.perf_counter() + LOAD_S
        self.weights = [bytes(range(256)) * 4096 for _ in range(50)]
        while time.perf_counter() < until:  # a load that keeps a core busy, as reading and placing weights does
            sum(self.weights[0][::4096])

    def __call__(self, tick=None):
        return time.time()
"""
EVERY_S = 12
KEEP_ALIVE_S = 0.5


@contextmanager
def platform() -> Iterator[PlatformClient]:
    """``stoker serve`` on an empty data directory."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [sys.executable, "-m", "stoker.cli.main", "serve", "--port", str(port), "--data-dir", folder]
        with process(command, f"127.0.0.1:{port}"):
            connection = json.loads(Path(folder, "connection.json").read_text())
            yield PlatformClient(f"http://127.0.0.1:{port}", connection["token"])


def deploy(client: PlatformClient, load_s: float) -> None:
    """The function, whose replica takes ``load_s`` to load."""
    source = SOURCE.replace("LOAD_S", str(load_s))
    options = {"scaling": {"keep_alive_s": KEEP_ALIVE_S}}
    client.ask("POST", "/v1/functions", {"name": "model", "source": source, "handler": "Model", "options": options})


def scheduled(client: PlatformClient, ticks: int) -> tuple[list[float], float]:
    """Milliseconds from each tick to its call's first line, and the share of time with a replica between ticks."""
    arguments = {"tick": "{{ scheduled_time }}"}
    spec = {"name": "often", "function": "model", "cron": f"*/{EVERY_S} * * * * *", "arguments": arguments}
    client.ask("POST", "/v1/schedules", spec)
    looks = warm = 0
    while True:
        runs = client.ask("GET", "/v1/schedules/often/runs?limit=500")["runs"]  # type: ignore[index]
        if sum(run["state"] == "succeeded" for run in runs) > ticks:
            break
        looks, warm = looks + 1, warm + bool(client.describe("model")["replicas"])
        time.sleep(0.1)
    client.ask("DELETE", "/v1/schedules/often")
    began: list[float] = []
    for run in runs[:ticks]:  # without the first: how long a load takes is learned from it
        tick_s = time.mktime(time.strptime(run["scheduled_time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        result = client.ask("GET", f"/v1/jobs/{run['job']}/result")
        assert isinstance(result, float)
        began.append((result - tick_s) * 1000)
    return began, warm / looks


def unannounced(client: PlatformClient, calls: int) -> list[float]:
    """The same for calls that nobody saw coming."""
    began = []
    for _ in range(calls):
        client.wait_for_zero("model")
        at_s = time.time()
        result = client.ask("POST", "/f/model", {})
        assert isinstance(result, float)
        began.append((result - at_s) * 1000)
    return began


def measure(load_s: float, ticks: int) -> dict[str, object]:
    """One row of the table."""
    with platform() as client:
        deploy(client, load_s)
        client.wait_for_zero("model")
        began, warm_share = scheduled(client, ticks)
        cold = unannounced(client, ticks)
    return {
        "load of a replica, s": load_s,
        "ticks": len(began),
        "tick to first line, p50 ms": round(median(began), 1),
        "worst, ms": round(max(began), 1),
        "time with a replica": f"{warm_share:.0%}",
        "the same call unannounced, p50 ms": round(median(cold)),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=20)
    parser.add_argument("--short", action="store_true", help="3 ticks of one function")
    args = parser.parse_args()
    loads = (0.5,) if args.short else (0.1, 0.5, 2.0)
    rows = [measure(load_s, 3 if args.short else args.ticks) for load_s in loads]
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
