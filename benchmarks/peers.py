"""Stoker beside what one would use instead: LitServe, BentoML, Ray Serve, KServe's model server, Mosec, plain FastAPI.

Each peer is installed on demand (pinned) and serves the same model code, tuned as its own documentation says: batches
of at most 32, a short wait, one worker. All processes of a server share core 0, the load generator has core 1. A peer
is alone on its core while it is measured, except for an idle bare uvicorn; its rounds alternate with rounds of the
yardstick, which is the bare uvicorn echo for echoes and the offline model for embeddings. Figures are medians. A peer
that does not install or start is listed with the reason. Peers without batching run their items one by one. What
else the machine was doing meanwhile is in the last column.

All four tables take about ten minutes with `--duration-s 2 --overload-s 10`.

    python -m benchmarks.peers [--only NAME] [--table NAME] [--rounds 3] [--duration-s 3] [--short]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import bad_items
from benchmarks.batching import TEXT
from benchmarks.embedding_example import EXAMPLE
from benchmarks.overhead import BARE
from benchmarks.peer_environments import PEERS, SERVERS, Peer, PeerFailed, install, running
from benchmarks.peer_servers import works
from benchmarks.platform_client import PlatformClient
from benchmarks.processes import cpu_seconds_of_tree
from benchmarks.serving import Served, bare_uvicorn, free_port, process, stoker_platform
from benchmarks.table import RESULTS, markdown, median, write_results

ITEMS: Mapping[str, object] = {"echo": 1, "spin": 1, "score": 1, "embed": TEXT}
STOKER = "Stoker"
SPIN = f"""
import time

def spin(x):
    until = time.perf_counter() + {works.WORK_MS} / 1000
    while time.perf_counter() < until:
        pass
    return x
"""
SOURCES = {"echo": "def echo(x):\n    return x\n", "score": bad_items.SOURCE, "spin": SPIN}
ONE: Mapping[str, object] = {"scaling": {"min_replicas": 1, "max_replicas": 1}}
OPTIONS: Mapping[str, Mapping[str, object]] = {
    "echo": ONE,
    "score": {**ONE, "batch": {"max_batch_size": works.MAX_BATCH_SIZE}},
    "spin": {**ONE, "max_queue_depth": works.QUEUE},
}


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rounds: int
    duration_s: float
    overload_s: float


@dataclass(frozen=True)
class Rival:
    """One row: a peer, or Stoker itself when `peer` is None."""

    name: str
    peer: Peer | None = None


RIVALS = (Rival(STOKER), *(Rival(peer.name, peer) for peer in PEERS))


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started inside runs on `core`; this process comes back to core 1."""
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, {1})


@contextlib.contextmanager
def embedding_platform() -> Iterator[Served]:
    """`stoker serve` with examples/02_embeddings.py deployed as a user deploys it."""
    stoker = [sys.executable, "-m", "stoker.cli.main"]
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        serve = [*stoker, "serve", "--port", str(port), "--data-dir", folder]
        with process(serve, f"127.0.0.1:{port}") as child:
            connection = json.loads(Path(folder, "connection.json").read_text())
            env = {**os.environ, "STOKER_DATA_DIR": folder}
            subprocess.run([*stoker, "deploy", str(EXAMPLE)], check=True, env=env, stdout=subprocess.DEVNULL)
            PlatformClient(connection["url"], connection["token"]).timed_call("embed", {"text": TEXT})
            yield Served(
                f"http://127.0.0.1:{port}/f/embed", child.pid, (f"Authorization: Bearer {connection['token']}",)
            )


@contextlib.contextmanager
def serving(rival: Rival, work: str) -> Iterator[tuple[Served, str]]:
    """The rival serving `work` on core 0, and the body that asks it."""
    with contextlib.ExitStack() as stack:
        body = json.dumps({"text" if work == "embed" else "x": ITEMS[work]})
        with on_core(0):
            if rival.peer is not None:
                served = stack.enter_context(running(rival.peer, work, ITEMS[work]))
                body = rival.peer.body_form(work).format(item=json.dumps(ITEMS[work]))
            elif work == "embed":
                served = stack.enter_context(embedding_platform())
            else:
                served = stack.enter_context(stoker_platform({work: SOURCES[work]}, OPTIONS[work]))[work]
        yield served, body


def busy_seconds() -> float:
    """CPU seconds that the machine's cores have spent on anything."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def load(served: Served, body: str, *args: str) -> dict[str, float]:
    """One run of the load generator on core 1, with CPU microseconds per call of either side."""
    before_s, busy_before_s, began_s = cpu_seconds_of_tree(served.pid), busy_seconds(), time.perf_counter()
    command = ["taskset", "-c", "1", sys.executable, "-m", "benchmarks.load_client"]
    command += ["--url", served.url, "--body", body, *args]
    for header in served.headers:
        command += ["--header", header]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    calls = max(result["good"], 1) / 1e6
    server_s = cpu_seconds_of_tree(served.pid) - before_s
    others_s = busy_seconds() - busy_before_s - server_s - result["client_cpu_s"]
    result["others_cores"] = max(others_s, 0.0) / (time.perf_counter() - began_s)
    result["server_cpu_us"] = server_s / calls
    result["client_cpu_us"] = result["client_cpu_s"] / calls
    return result


def closed(served: Served, body: str, duration_s: float, connections: int = 64, *more: str) -> dict[str, float]:
    """One closed-loop round."""
    return load(served, body, "--connections", str(connections), "--duration-s", str(duration_s), *more)


def figures(runs: list[dict[str, float]], yardstick: float, digits: int) -> dict[str, object]:
    """The columns that echoes and embeddings share."""
    answered = [run for run in runs if run["good"]]
    if not answered:
        raise PeerFailed(f"answers nothing well: {runs[0]['statuses']}")
    rate = median(run["rate_per_s"] for run in runs)
    statuses: Counter[str] = sum((Counter(run["statuses"]) for run in runs), Counter())  # type: ignore[arg-type]
    failed = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()) if status[0] != "2")
    return {
        "calls/s": round(rate, digits) if digits else round(rate),
        "ratio": round(rate / yardstick, 2),
        "p50 ms": round(median(run["p50_ms"] for run in answered), 1),
        "p99 ms": round(median(run["p99_ms"] for run in answered), 1),
        "failed": failed or 0,
        "server CPU µs/call": round(median(run["server_cpu_us"] for run in answered)),
        "client CPU µs/call": round(median(run["client_cpu_us"] for run in answered)),
        "other load, cores": round(median(run["others_cores"] for run in runs), 1),
    }


def echo(rival: Rival, plan: Plan) -> dict[str, object]:
    """Echo at 64 connections; ratio to the bare uvicorn echo between whose rounds it ran.

    The ratio by server CPU (of time per call) holds when other work takes part of the cores.
    """
    with on_core(0):
        stack = contextlib.ExitStack()
        bare = stack.enter_context(bare_uvicorn())
    with stack, serving(rival, "echo") as (served, body):
        closed(served, body, plan.duration_s / 2)
        bare_runs, runs = [], []
        for _ in range(plan.rounds):
            bare_runs.append(closed(bare, '{"x": 1}', plan.duration_s))
            runs.append(closed(served, body, plan.duration_s))
    bare_rate = median(run["rate_per_s"] for run in bare_runs)
    bare_cpu_us = median(run["server_cpu_us"] for run in bare_runs)
    row = figures(runs, bare_rate, 0)
    by_cpu = round(bare_cpu_us / median(run["server_cpu_us"] for run in runs), 2)
    return {**row, f"{BARE} calls/s": round(bare_rate), "ratio by server CPU": by_cpu}


def embeddings(rival: Rival, plan: Plan) -> dict[str, object]:
    """MiniLM, 64 connections, batches of at most 32; ratio to the offline model in batches of 32.

    The ratio by server CPU (of time per text) holds when other work takes part of the cores.
    """
    python = install(rival.peer or PEERS[0]) / "python"
    offline_command = ["taskset", "-c", "0", python, SERVERS / "works.py", TEXT, str(plan.duration_s)]
    with serving(rival, "embed") as (served, body):
        closed(served, body, plan.duration_s)
        offline: list[tuple[float, float]] = []
        runs = []
        for _ in range(plan.rounds):
            printed = subprocess.run(offline_command, capture_output=True, check=True).stdout.split()
            offline.append((float(printed[0]), float(printed[1])))
            runs.append(closed(served, body, plan.duration_s, 64, "--finish"))
    rate, cpu_us = median(one[0] for one in offline), median(one[1] for one in offline)
    by_cpu = round(cpu_us / median(run["server_cpu_us"] for run in runs), 2)
    return {**figures(runs, rate, 1), "offline texts/s": round(rate, 1), "ratio by server CPU": by_cpu}


def bad(rival: Rival, plan: Plan) -> dict[str, object]:
    """One bad item in 50 under batching: what becomes of the good ones."""
    if rival.peer is not None and not rival.peer.batches:
        raise PeerFailed("does not batch")
    clean: Counter[str] = Counter()
    mixed: Counter[str] = Counter()
    form = rival.peer.body_form("score") if rival.peer else '{{"x": {item}}}'
    with serving(rival, "score") as (served, _):
        asyncio.run(bad_items.run(served, 0.0, 1.0, 0, form))
        for number in range(plan.rounds):
            clean += asyncio.run(bad_items.run(served, 0.0, plan.duration_s, number, form))
            mixed += asyncio.run(bad_items.run(served, bad_items.BAD_SHARE, plan.duration_s, number, form))
    good = sum(count for name, count in mixed.items() if name.startswith("good"))
    return {
        "good items failed": f"{100 * (1 - mixed['good 200'] / good):.1f} %",
        "of": good,
        "calls/s, no bad items": round(sum(clean.values()) / plan.rounds / plan.duration_s),
        "good results/s, 1 bad in 50": round(mixed["good 200"] / plan.rounds / plan.duration_s),
    }


def overload(rival: Rival, plan: Plan) -> dict[str, object]:
    """Open loop at 3 times the closed-loop capacity of a 4 ms function, clients that give up after 5 s."""
    with serving(rival, "spin") as (served, body):
        if rival.peer is None:
            served = Served(served.url, served.pid, (*served.headers, f"Stoker-Timeout-Ms: {works.TIMEOUT_S * 1000}"))
        closed(served, body, 1.0, 8)
        capacity = closed(served, body, 3.0, 8)["rate_per_s"]
        shape = ("--rate", str(3 * capacity), "--duration-s", str(plan.overload_s), "--patience-s", "5")
        over = load(served, body, *shape, "--aftermath-connections", "8")
    after: list[int] = over["aftermath_per_second"]  # type: ignore[assignment]
    in_time: list[int] = over["good_per_second"][: round(plan.overload_s)]  # type: ignore[index]
    statuses: Mapping[str, int] = over["statuses"]  # type: ignore[assignment]
    return {
        "capacity calls/s": round(capacity),
        "goodput / capacity": round(sum(in_time) / plan.overload_s / capacity, 2),
        "results p50 ms": round(over["p50_ms"] or 0),
        "results p99 ms": round(over["p99_ms"] or 0),
        "answers": ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items())),
        "first, second second after / capacity": ", ".join(f"{count / capacity:.2f}" for count in after),
        "other load, cores": round(over["others_cores"], 1),
    }


TABLES: Mapping[str, Callable[[Rival, Plan], dict[str, object]]] = {
    "echo": echo,
    "embeddings": embeddings,
    "bad": bad,
    "overload": overload,
}


def measure(table: str, rivals: list[Rival], plan: Plan) -> list[dict[str, object]]:
    """One table's rows; a rival that fails has its reason where the first figure would be."""
    rows: list[dict[str, object]] = []
    failed: list[tuple[int, str, str]] = []
    for rival in rivals:
        try:
            rows.append({"server": rival.name, **TABLES[table](rival, plan)})
        except (PeerFailed, OSError) as error:
            failed.append((len(rows) + len(failed), rival.name, str(error)))
        print(
            f"{table}: {rival.name}: {failed[-1] if failed and failed[-1][1] == rival.name else rows[-1]}", flush=True
        )
    columns = list(rows[0]) if rows else ["server", "result"]
    for position, name, reason in failed:
        rows.insert(position, {**dict.fromkeys(columns, "–"), "server": name, columns[1]: reason})
    return rows


def keep(table: str, rows: list[dict[str, object]]) -> None:
    """Write one table's rows beside the other tables that the file has."""
    path = RESULTS / f"{Path(__file__).stem}.json"
    old = json.loads(path.read_text())["rows"] if path.exists() else []
    mine = {name: [row for row in old if row["table"] == name] for name in TABLES}
    mine[table] = [{"table": table, **row} for row in rows]
    write_results(Path(__file__).stem, [row for name in TABLES for row in mine[name]])


def main() -> None:
    """Measure what was asked for; only whole tables are written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="part of a server's name; not kept")
    parser.add_argument("--table", action="append", default=[], choices=list(TABLES), help="all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration-s", type=float, default=3.0)
    parser.add_argument("--overload-s", type=float, default=15.0)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    plan = Plan(3, 1.5, 5.0) if args.short else Plan(args.rounds, args.duration_s, args.overload_s)
    rivals = [
        rival for rival in RIVALS if not args.only or any(part.lower() in rival.name.lower() for part in args.only)
    ]
    if not rivals:
        parser.error(f"no server named like {args.only}; there are {', '.join(rival.name for rival in RIVALS)}")
    for table in args.table or TABLES:
        rows = measure(table, rivals, plan)
        print(f"\n{(TABLES[table].__doc__ or '').strip()}\n\n{markdown(rows)}\n", flush=True)
        if not args.only:
            keep(table, rows)


if __name__ == "__main__":
    main()
