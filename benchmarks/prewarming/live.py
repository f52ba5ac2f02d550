"""Hours of a production trace, sped up 60 times, on a real platform beside the simulator: cold starts and idle time.

Two hours of sixteen functions of ``azure2019_500x8h`` by default, in two minutes. Every function is registered twice,
once with a fixed keep-alive (ten minutes, sped up: 10 s) and once with the adaptive one, and both get the same calls.
Whether a call was cold is what its receipt says; idle time is counted from `GET /v1/pool`, asked 20 times a second. The
simulator replays the calls at the instants at which they were sent, with the load time that the platform showed;
`least_away_s` is 0 on both sides.

    python -m benchmarks.prewarming.live [--minutes 2] [--seed 1] [--short] [--trace FILE]

Without the trace it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.caller import Caller
from benchmarks.platform_client import PlatformClient
from benchmarks.serving import Served, register, stoker_platform
from benchmarks.table import markdown, write_results
from stoker_pool.call_log import Row
from stoker_pool.simulation.policies import PolicySpec, adaptive, fixed
from stoker_pool.simulation.runs import Conditions, replay
from stoker_pool.simulation.trace import trace_of
from stoker_pool.simulation.trace_files import read_trace

TRACE = Path(__file__).resolve().parents[3] / "shared/traces/azure2019_500x8h.npz"
SPEED = 60.0
FUNCTIONS = 16
KEEP_ALIVE_S = 600.0 / SPEED
PRICE_S = 120.0
SOURCE = "import asyncio\nimport time\n\ntime.sleep(0.2)\n\nasync def {name}(x):\n    await asyncio.sleep(x)\n"
OPTIONS = {"concurrency": 100}
SCALING = {
    "fixed": {"keep_alive_s": KEEP_ALIVE_S, "max_replicas": 1},
    "adaptive": {"keep_alive_s": "adaptive", "gpu_second_cost": 1.0, "cold_start_cost": PRICE_S, "max_replicas": 1},
}
_POLL_S = 0.05
_CALLED = (3, 240)
"""Calls of a function in the slice, at least and at most."""
_AT_ONCE = 3
"""Calls of one row, at most: of calls at one instant only the first can be cold."""
_LONGEST_S = 5.0
Call = tuple[str, float, float]


@dataclass
class Seen:
    """What the platform did for one kind of scaling."""

    rows: list[Row] = field(default_factory=list)
    cold: int = 0
    load_s: list[float] = field(default_factory=list)
    idle_s: float = 0.0
    lost: list[str] = field(default_factory=list)


def calls(path: Path, seconds: float, seed: int) -> list[Call]:
    """Function, when, and for how long: the first hours of some functions of a trace, sped up.

    The functions are spread evenly over those that are called now and then, from the rarest to the most frequent:
    what is called once says nothing, and what is called all the time is never cold.
    """
    trace = read_trace(path)
    end_s = trace.start_s + seconds * SPEED
    rows: dict[int, list[Call]] = {}
    for at_s, owner, count, duration_s in zip(
        trace.times_s, trace.owners, trace.counts, trace.durations_s, strict=True
    ):
        if at_s >= end_s - SPEED:
            break
        due_s = (at_s - trace.start_s) / SPEED
        called = [(f"f{owner}", due_s, min(duration_s / SPEED, _LONGEST_S))] * min(count, _AT_ONCE)
        rows.setdefault(owner, []).extend(called)
    least, most = _CALLED
    wanted = sorted((len(found), owner) for owner, found in rows.items() if least <= len(found) <= most)
    step = len(wanted) / FUNCTIONS
    first = random.Random(seed).random() * step
    chosen = [wanted[min(int(first + place * step), len(wanted) - 1)][1] for place in range(FUNCTIONS)]
    return sorted((call for owner in dict.fromkeys(chosen) for call in rows[owner]), key=lambda call: call[1])


async def send(served: Served, kind: str, function: str, duration_s: float, seen: Seen) -> None:
    """One call at this instant."""
    began_s, began = time.time(), time.perf_counter()
    seen.rows.append((f"{kind}/{function}", began_s, 1, duration_s))
    async with Caller(served) as caller:
        answer = await caller.ask(json.dumps({"x": duration_s}).encode())
    if answer.status != 200:
        seen.lost.append(f"{answer.status} {answer.body[:200]!r}")
    elif json.loads(answer.body)["receipt"]["cold"]:
        seen.cold += 1
        seen.load_s.append(time.perf_counter() - began - duration_s)


async def watch(client: PlatformClient, kinds: dict[str, Seen]) -> None:
    """Adds up what is ready and has nothing to do."""
    last = time.perf_counter()
    while True:
        document = await asyncio.to_thread(client.ask, "GET", "/v1/pool")
        now = time.perf_counter()
        assert isinstance(document, dict)
        idle: dict[str, int] = defaultdict(int)
        for replica in document["replicas"]:
            idle[replica["namespace"]] += replica["state"] == "ready" and not replica["in_flight"]
        for kind, seen in kinds.items():
            seen.idle_s += idle[kind] * (now - last)
        last = now
        await asyncio.sleep(_POLL_S)


async def run(base: Served, todo: list[Call], seconds: float) -> dict[str, Seen]:
    """All calls at their instants, to both kinds."""
    token = base.headers[0].rpartition(" ")[2]
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(base.url))
    kinds = {kind: Seen() for kind in SCALING}
    client = PlatformClient(origin, token)
    for kind in kinds:
        for function in {function for function, _, _ in todo}:
            await asyncio.to_thread(client.wait_for_zero, f"{function}?namespace={kind}")  # what registering left
    watcher = asyncio.create_task(watch(client, kinds))
    began = time.perf_counter()
    sent = []
    for function, at_s, duration_s in todo:
        await asyncio.sleep(max(began + at_s - time.perf_counter(), 0.0))
        for kind, seen in kinds.items():
            served = replace(base, url=f"{origin}/n/{kind}/f/{function}", headers=(*base.headers, "Stoker-Receipt: 1"))
            sent.append(asyncio.create_task(send(served, kind, function, duration_s, seen)))
    await asyncio.gather(*sent)
    await asyncio.sleep(max(began + seconds - time.perf_counter(), 0.0))
    watcher.cancel()
    await asyncio.gather(watcher, return_exceptions=True)
    return kinds


def row(kind: str, spec: PolicySpec, seen: Seen, seconds: float) -> dict[str, object]:
    """Live and simulated side by side."""
    load_s = sum(seen.load_s) / max(len(seen.load_s), 1)
    start_s = min(at_s for _, at_s, _, _ in seen.rows)
    trace = trace_of(seen.rows, start_s=start_s, end_s=start_s + seconds)
    tally = replay(trace, spec, Conditions(load_s=load_s, warm_up_share=0.0))
    cold, idle_s = sum(tally.cold_starts), sum(tally.idle_s)
    return {
        "scaling": kind,
        "calls": len(seen.rows),
        "load s": f"{load_s:.2f}",
        "cold % live": f"{100 * seen.cold / len(seen.rows):.2f}",
        "cold % simulated": f"{100 * cold / len(seen.rows):.2f}",
        "cold live": seen.cold,
        "cold simulated": cold,
        "cold live / simulated": f"{seen.cold / cold:.3f}" if cold else "-",
        "idle s live": f"{seen.idle_s:.0f}",
        "idle s simulated": f"{idle_s:.0f}",
        "idle live / simulated": f"{seen.idle_s / idle_s:.3f}" if idle_s else "-",
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="one minute")
    parser.add_argument("--trace", type=Path, default=TRACE)
    args = parser.parse_args()
    if not args.trace.is_file():
        print(f"{args.trace} is not there: nothing to replay (--trace FILE names another)")
        return
    seconds = 60.0 if args.short else args.minutes * 60
    todo = calls(args.trace, seconds, args.seed)
    # its 30 s are half an hour of the trace here, and the simulator knows of no such pause
    os.environ["STOKER_POOL_LEAST_AWAY_S"] = "0"
    with stoker_platform({"first": "def first(x):\n    return x\n"}, {}) as platform:
        base = platform["first"]
        port, token = urlsplit(base.url).port or 0, base.headers[0].rpartition(" ")[2]
        for kind, scaling in SCALING.items():
            for name in sorted({function for function, _, _ in todo}):
                document = {"name": name, "namespace": kind, "source": SOURCE.format(name=name), "handler": name}
                register(port, token, {**document, "options": {**OPTIONS, "scaling": scaling}})
        kinds = asyncio.run(run(base, todo, seconds))
    for seen in kinds.values():
        for line in seen.lost[:5]:
            print(f"lost: {line}")
    rows = [
        row("fixed", fixed(KEEP_ALIVE_S), kinds["fixed"], seconds),
        row("adaptive", adaptive(PRICE_S), kinds["adaptive"], seconds),
    ]
    print(markdown(rows))
    write_results("prewarming.live", rows)


if __name__ == "__main__":
    main()
