"""A batch run whose platform is killed ten times at random: what is lost, doubled or different from one left in peace.

One function over one file of texts, once in peace and once while `kill -9` hits the platform (its workers and zygotes
die with it) at random points of the run's progress and it is started again on the same data. Both outputs are sorted by
key and compared byte for byte, error files included; a few texts fail on purpose.

    python -m benchmarks.batch_kills [--rows 50000] [--kills 10] [--seed 1] [--short]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.platform_client import PlatformClient
from benchmarks.serving import free_port, process, register
from benchmarks.table import markdown, write_results

SOURCE = """
import hashlib
import time

def mark(text: list[str]) -> list[str]:
    if any(each.startswith("bad") for each in text):
        raise ValueError("bad text")
    time.sleep(0.002)
    return [hashlib.sha256(each.encode()).hexdigest() for each in text]
"""
Json = dict[str, object]


@dataclass(frozen=True)
class Life:
    """A platform, from a start to its end."""

    client: PlatformClient
    url: str
    token: str
    pid: int

    def follow(self, batch_id: str, until_done: float) -> Json:
        """Watch a run until so many rows are done or it ends."""
        headers = {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(f"{self.url}/v1/batches/{batch_id}/events", headers=headers)
        document: Json = {}
        with urllib.request.urlopen(request, timeout=600) as stream:
            for line in stream:
                if line.startswith(b"data: "):
                    document = json.loads(line.removeprefix(b"data: "))
                    progress = document["progress"]
                    assert isinstance(progress, dict)
                    if progress["done"] >= until_done:
                        break
        return document


@contextmanager
def life(folder: str) -> Iterator[Life]:
    """Start a platform on the same data, again and again."""
    port = free_port()
    command = [sys.executable, "-m", "stoker.cli.main", "serve", "--port", str(port), "--data-dir", f"{folder}/data"]
    with process(command, f"127.0.0.1:{port}", {"STOKER_BATCH_ROOTS": folder}) as child:
        connection = json.loads(Path(folder, "data/connection.json").read_text())
        client = PlatformClient(connection["url"], connection["token"])
        yield Life(client, connection["url"], connection["token"], child.pid)


def start(alive: Life, folder: str, output: str) -> str:
    """A run to that output; its id."""
    spec = {"function": "mark", "input": f"{folder}/in.jsonl", "output": f"{folder}/{output}", "key": "id"}
    made = alive.client.ask("POST", "/v1/batches", {**spec, "rows_per_part": 1000})
    assert isinstance(made, dict)
    return str(made["id"])


def lines_of(folder: Path, kind: str) -> list[str]:
    """Of every file of that kind, sorted (each line begins with its key)."""
    return sorted(line for path in folder.glob(f"{kind}-*.jsonl") for line in path.read_text().splitlines())


def measure(rows: int, kills: int, seed: int) -> list[dict[str, object]]:
    """Rows of the table."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        with Path(folder, "in.jsonl").open("w") as file:
            for number in range(rows):
                word = "bad" if chance.random() < 0.0005 else "text"
                file.write(json.dumps({"id": f"k{number}", "text": f"{word} {number}"}) + "\n")
        with life(folder) as alive:
            options = {"batch": {"max_batch_size": 32}, "idempotent": True}
            spec = {"name": "mark", "source": SOURCE, "handler": "mark", "options": options}
            register(int(alive.url.rpartition(":")[2]), alive.token, spec)
            quiet = alive.follow(start(alive, folder, "quiet"), rows + 1)
            disturbed = start(alive, folder, "disturbed")
            alive.follow(disturbed, chance.uniform(0, rows / (kills + 1)))
            os.kill(alive.pid, signal.SIGKILL)
        for kill in range(1, kills):
            with life(folder) as alive:
                alive.follow(disturbed, (kill + chance.random()) * rows / (kills + 1))
                os.kill(alive.pid, signal.SIGKILL)
        was_hidden = not Path(folder, "disturbed").exists()
        with life(folder) as alive:
            last = alive.follow(disturbed, rows + 1)
        assert quiet["state"] == last["state"] == "succeeded", last
        ours, theirs = Path(folder, "disturbed"), Path(folder, "quiet")
        found = [json.loads(line)["key"] for kind in ("part", "errors") for line in lines_of(ours, kind)]
        is_same = all(lines_of(ours, kind) == lines_of(theirs, kind) for kind in ("part", "errors"))
    return [
        {
            "rows": rows,
            "kills": kills,
            "lost": rows - len(set(found)),
            "doubled": len(found) - len(set(found)),
            "same bytes, sorted by key": "yes" if is_same else "NO",
            "seen before its end": "no" if was_hidden else "YES",
        }
    ]


def main() -> None:
    """Print and write the table; exit 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    rows = measure(8000, 5, args.seed) if args.short else measure(args.rows, args.kills, args.seed)
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)
    if rows[0]["lost"] or rows[0]["doubled"] or rows[0]["same bytes, sorted by key"] != "yes":
        sys.exit(1)


if __name__ == "__main__":
    main()
