"""A short trace sped up 60 times on a real platform beside the simulator: cold starts and idle loaded time of both.

Every function of the trace is registered twice, once with a fixed keep-alive (ten minutes, sped up: 10 s) and once with
the adaptive one, and both get the same calls. Whether a call was cold is what its receipt says; idle time is counted
from `GET /v1/pool`, asked 20 times a second. The simulator replays the calls at the instants at which they were sent,
with the load time that the platform showed.

    python -m benchmarks.prewarming.live [--minutes 3] [--seed 1] [--short]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from benchmarks.caller import Caller
from benchmarks.platform_client import PlatformClient
from benchmarks.serving import Served, register, stoker_platform
from benchmarks.table import markdown, write_results
from stoker_pool.call_log import Row
from stoker_pool.simulation.policies import PolicySpec, adaptive, fixed
from stoker_pool.simulation.runs import Conditions, replay
from stoker_pool.simulation.trace import trace_of

KEEP_ALIVE_S = 10.0
PRICE_S = 120.0
SOURCE = "import asyncio\nimport time\n\ntime.sleep(0.2)\n\nasync def {name}(x):\n    await asyncio.sleep(x)\n"
OPTIONS = {"concurrency": 100}
SCALING = {
    "fixed": {"keep_alive_s": KEEP_ALIVE_S, "max_replicas": 1},
    "adaptive": {"keep_alive_s": "adaptive", "gpu_second_cost": 1.0, "cold_start_cost": PRICE_S, "max_replicas": 1},
}
_POLL_S = 0.05


@dataclass
class Seen:
    """What the platform did for one kind of scaling."""

    rows: list[Row] = field(default_factory=list)
    cold: int = 0
    load_s: list[float] = field(default_factory=list)
    idle_s: float = 0.0
    lost: list[str] = field(default_factory=list)


def calls(seconds: float, seed: int) -> list[tuple[str, float, float]]:
    """Function, when, and for how long: timers, calls at random, and bursts; sped up already."""
    chance, found = random.Random(seed), []
    for number, period_s in enumerate((5.0, 8.0, 15.0, 30.0)):
        found += [(f"timer{number}", 1.0 + number + step * period_s, 0.1) for step in range(int(seconds / period_s))]
    for number, mean_s in enumerate((6.0, 12.0, 25.0)):
        at_s = chance.expovariate(1 / mean_s)
        while at_s < seconds:
            found.append((f"random{number}", at_s, chance.choice((0.05, 0.3))))
            at_s += chance.expovariate(1 / mean_s)
    for number, pause_s in enumerate((14.0, 40.0)):
        at_s = 2.0 + number
        while at_s < seconds:
            for _ in range(chance.randint(2, 6)):
                found.append((f"burst{number}", at_s, 0.1))
                at_s += chance.uniform(0.3, 2.0)
            at_s += chance.uniform(0.5, 1.5) * pause_s
    return sorted((call for call in found if call[1] < seconds - 1.0), key=lambda call: call[1])


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


async def run(base: Served, todo: list[tuple[str, float, float]], seconds: float) -> dict[str, Seen]:
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
        "cold live": seen.cold,
        "cold simulated": cold,
        "live / simulated": f"{seen.cold / cold:.3f}",
        "idle s live": f"{seen.idle_s:.0f}",
        "idle s simulated": f"{idle_s:.0f}",
        "idle live / simulated": f"{seen.idle_s / idle_s:.3f}",
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="one minute")
    args = parser.parse_args()
    seconds = 60.0 if args.short else args.minutes * 60
    todo = calls(seconds, args.seed)
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
