"""10,000 jobs while the platform, its workers and their zygotes are killed (`kill -9`) at random for two minutes.

Every job is submitted under an id of its own, and submitted again where the answer was lost with the platform. The
function is idempotent: what it leaves behind has the job's number for a name, and each run adds a line to a list. Lost
is a job without its right answer or without its effect; doubled is one with two ends, or an effect that no job asked
for.

    python -m benchmarks.jobs_soak [--jobs 10000] [--duration-s 120] [--seed 1] [--short]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter

import httpx

from benchmarks.processes import is_worker, is_zygote, kill, process_tree
from benchmarks.serving import free_port, register
from benchmarks.table import markdown, write_results

BETWEEN_KILLS_S = 1.5
PLATFORM_SHARE, ZYGOTE_SHARE = 0.25, 0.25
CLIENTS = 8
END_LIMIT_S = 300.0
SOURCE = """
import os
import time

def work(n, path):
    time.sleep(0.01)
    with open(os.path.join(path, "runs"), "a") as runs:
        runs.write(f"{n}\\n")
    os.close(os.open(os.path.join(path, f"effect-{n}"), os.O_CREAT | os.O_RDONLY, 0o666))
    return n * n
"""


class Killable:
    """A platform that is started again after each kill."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.killed: Counter[str] = Counter()
        self.is_over = False

    @property
    def url(self) -> str:
        """Where it answers, whenever it lives."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        """The first token, which outlives it."""
        return str(json.loads((self._folder / "connection.json").read_text())["token"])

    def start(self) -> None:
        """Start it, and return when it is ready."""
        command = [sys.executable, "-m", "stoker.cli.main", "serve", "--port", str(self.port)]
        self._process = subprocess.Popen(
            [*command, "--data-dir", str(self._folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "is ready" in line:
                return
        raise SystemExit("the platform did not start")

    def stop(self) -> None:
        """Let it drain."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    async def kill_for(self, duration_s: float, seed: int) -> None:
        """Kill whatever chance chooses, until the time is over."""
        chance, stop_s = random.Random(seed), perf_counter() + duration_s
        while perf_counter() < stop_s:
            await asyncio.sleep(chance.uniform(0.3, 1.7) * BETWEEN_KILLS_S)
            draw = chance.random()
            if draw < PLATFORM_SHARE:
                self._process.kill()
                self._process.wait()
                self.killed["platform"] += 1
                await asyncio.to_thread(self.start)
                continue
            name, is_kind = ("zygote", is_zygote) if draw < PLATFORM_SHARE + ZYGOTE_SHARE else ("worker", is_worker)
            pids = [pid for pid in process_tree(self._process.pid) if is_kind(pid)]
            if pids:
                self.killed[name] += kill(chance.choice(pids), is_kind)
        self.is_over = True


async def submit_all(platform: Killable, numbers: list[int], effects: Path, spread_s: float) -> None:
    """Submit each number, as often as it takes; ``spread_s``: over so long."""
    pause_s = spread_s / max(len(numbers), 1)
    async with httpx.AsyncClient(base_url=platform.url, headers=bearer(platform), timeout=30) as client:
        for number in numbers:
            body = {"function": "work", "input": {"n": number, "path": str(effects)}}
            while True:
                try:
                    answer = await client.put(f"/v1/jobs/soak-{number}", json=body)
                except httpx.HTTPError:
                    answer = None
                if answer is not None and answer.status_code == 202:
                    break
                await asyncio.sleep(0.1)
            await asyncio.sleep(pause_s)


async def soak(platform: Killable, jobs: int, duration_s: float, seed: int, effects: Path) -> dict[str, object]:
    """The load, the kills, and what came of them."""
    began = perf_counter()
    shares = [list(range(first, jobs, CLIENTS)) for first in range(CLIENTS)]
    await asyncio.gather(
        platform.kill_for(duration_s, seed),
        *(submit_all(platform, share, effects, 0.8 * duration_s) for share in shares),
    )
    right, states, ends = await results(platform, jobs)
    took_s = perf_counter() - began
    found = {path.name for path in effects.glob("effect-*")}
    asked = {f"effect-{number}" for number in range(jobs)}
    runs = len((effects / "runs").read_text().splitlines())
    return {
        "seconds": round(took_s),
        "platforms killed": platform.killed["platform"],
        "zygotes killed": platform.killed["zygote"],
        "workers killed": platform.killed["worker"],
        "jobs": jobs,
        "right results": right,
        "lost": max(jobs - right, len(asked - found)),
        "doubled": max(0, ends - jobs) + len(found - asked),
        "runs": runs,
        "states": ", ".join(f"{count} {state}" for state, count in sorted(states.items())),
    }


async def results(platform: Killable, jobs: int) -> tuple[int, Counter[str], int]:
    """Right answers, states, and ends among the events of all jobs."""
    states: Counter[str] = Counter()
    stop_s = perf_counter() + END_LIMIT_S

    async def look(numbers: range) -> tuple[int, int]:
        right = ends = 0
        async with httpx.AsyncClient(base_url=platform.url, headers=bearer(platform), timeout=60) as client:
            for number in numbers:
                url = f"/v1/jobs/soak-{number}"
                while True:
                    answer = await client.get(f"{url}/result", params={"wait": 20})
                    if answer.status_code != 202 or perf_counter() > stop_s:
                        break
                is_right = answer.status_code == 200 and answer.json() == number * number
                if not is_right:
                    print(f"lost: soak-{number}: {answer.status_code} {answer.text[:600]}")
                right += is_right
                events = (await client.get(f"{url}/events", params={"follow": False})).text
                states[events.rpartition('"state":"')[2].partition('"')[0]] += 1
                ends += events.count('"state":"succeeded"') + events.count('"state":"failed"')
        return right, ends

    found = await asyncio.gather(*(look(range(first, jobs, CLIENTS)) for first in range(CLIENTS)))
    return sum(right for right, _ in found), states, sum(ends for _, ends in found)


def bearer(platform: Killable) -> dict[str, str]:
    """The header that opens it."""
    return {"Authorization": f"Bearer {platform.token}"}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--duration-s", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    jobs, duration_s = (1000, 20.0) if args.short else (args.jobs, args.duration_s)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)  # workers run as users of their own
        effects = Path(folder, "effects")
        effects.mkdir()
        (effects / "runs").touch()
        for path in (effects, effects / "runs"):
            os.chmod(path, 0o777)
        platform = Killable(Path(folder, "data"))
        platform.start()
        options = {"idempotent": True, "scaling": {"max_replicas": 2}}
        register(
            platform.port, platform.token, {"name": "work", "source": SOURCE, "handler": "work", "options": options}
        )
        row = asyncio.run(soak(platform, jobs, duration_s, args.seed, effects))
        platform.stop()
    print(markdown([row]))
    write_results(Path(__file__).stem, [row])
    if row["lost"] or row["doubled"]:
        raise SystemExit("jobs were lost or doubled")


if __name__ == "__main__":
    main()
