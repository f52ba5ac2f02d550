"""Short texts through the MiniLM embedding example as one batch run, beside the offline throughput of the same model.

Offline: a plain process that runs the example's class over the same file in batches of 32 texts, one intra-op thread.
Stoker: `POST /v1/batches` over the same file, one replica, the output as JSONL parts with an fsync each; platform and
worker share the core that the offline process has to itself. The time runs from the request to the published output,
read from the run's own document. Memory is the peak resident set of the platform's process. Rounds are interleaved;
figures are medians.

    python -m benchmarks.batch_run [--rows 100000] [--rounds 1] [--short]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import urllib.request
from datetime import datetime
from pathlib import Path

from benchmarks.embedding_example import EXAMPLE, FRESH, environment_python
from benchmarks.platform_client import PlatformClient
from benchmarks.serving import free_port, process
from benchmarks.table import markdown, median, write_results

WORDS = ("fire", "coal", "steam", "boiler", "grate", "arch", "draught", "whistle", "brake", "rail", "signal", "tender")
OFFLINE = (
    FRESH
    + """
import json, time
began, done, batch = time.perf_counter(), 0, []
with open(sys.argv[2]) as lines, open(sys.argv[3], "w") as out:
    def flush():
        for key, vector in zip([row["id"] for row in batch], model([row["text"] for row in batch])):
            out.write(json.dumps({"key": key, "result": vector}) + "\\n")
    for line in lines:
        batch.append(json.loads(line))
        done += 1
        if len(batch) == 32:
            flush()
            batch = []
    if batch:
        flush()
print(done / (time.perf_counter() - began))
"""
)


def write_texts(path: Path, rows: int) -> None:
    """So many texts of 6 to 16 words, the same each time."""
    chance = random.Random(1)
    with path.open("w") as file:
        for number in range(rows):
            text = " ".join(chance.choices(WORDS, k=chance.randrange(6, 17)))
            file.write(json.dumps({"id": f"t{number}", "text": text}) + "\n")


def offline_rate(python: str, texts: Path, out: Path) -> float:
    """Texts per second of the bare model, reading and writing included."""
    command = [python, "-c", OFFLINE, str(EXAMPLE), str(texts), str(out)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def batch_rate(client: PlatformClient, url: str, token: str, spec: dict[str, object]) -> dict[str, object]:
    """One run, to its end; its last document."""
    made = client.ask("POST", "/v1/batches", spec)
    assert isinstance(made, dict)
    headers = {"Authorization": f"Bearer {token}"}
    while True:
        request = urllib.request.Request(f"{url}/v1/batches/{made['id']}/events", headers=headers)
        document: dict[str, object] = {}
        sizes: list[float] = []
        with urllib.request.urlopen(request, timeout=600) as stream:
            for line in stream:
                if line.startswith(b"data: "):
                    document = json.loads(line.removeprefix(b"data: "))
                    progress = document["progress"]
                    assert isinstance(progress, dict)
                    sizes.append(progress["batch_size"] or 0.0)
        if document["state"] != "running":
            break
    assert document["state"] == "succeeded", document
    began, ended = (datetime.fromisoformat(str(document[name])) for name in ("created_at", "ended_at"))
    progress = document["progress"]
    assert isinstance(progress, dict)
    rate = progress["done"] / (ended - began).total_seconds()
    return {"rate": rate, "batch_size": max(sizes), "failed": progress["failed"]}


def peak_mib(pid: int) -> float:
    """Peak resident set of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def measure(rows: int, rounds: int) -> list[dict[str, object]]:
    """Rows of the table."""
    os.sched_setaffinity(0, {0})  # inherited by everything
    offline: list[float] = []
    runs: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        data, texts = Path(folder, "data"), Path(folder, "texts.jsonl")
        write_texts(texts, rows)
        port = free_port()
        stoker = [sys.executable, "-m", "stoker.cli.main"]
        serve = [*stoker, "serve", "--port", str(port), "--data-dir", str(data)]
        with process(serve, f"127.0.0.1:{port}", {"STOKER_BATCH_ROOTS": folder}) as child:
            connection = json.loads((data / "connection.json").read_text())
            client = PlatformClient(connection["url"], connection["token"])
            env = {**os.environ, "STOKER_DATA_DIR": str(data)}
            subprocess.run([*stoker, "deploy", str(EXAMPLE)], check=True, env=env, stdout=subprocess.DEVNULL)
            client.timed_call("embed", {"text": "warm"})
            before_mib = peak_mib(child.pid)
            for number in range(rounds):
                offline.append(offline_rate(environment_python(str(data)), texts, Path(folder, "offline.jsonl")))
                spec = {
                    "function": "embed",
                    "input": str(texts),
                    "output": f"{folder}/out{number}",
                    "key": "id",
                }
                runs.append(batch_rate(client, connection["url"], connection["token"], spec))
            after_mib = peak_mib(child.pid)
    bare, rate = median(offline), median(float(str(run["rate"])) for run in runs)
    return [
        {
            "rows": rows,
            "offline texts/s": round(bare, 1),
            "batch run texts/s": round(rate, 1),
            "ratio": round(rate / bare, 3),
            "mean batch": runs[-1]["batch_size"],
            "failed": sum(int(str(run["failed"])) for run in runs),
            "platform's peak MiB before": round(before_mib),
            "and after": round(after_mib),
        }
    ]


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    rows = measure(4000, 1) if args.short else measure(args.rows, args.rounds)
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
