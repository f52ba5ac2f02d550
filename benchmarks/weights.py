"""What 1.6 GB of weights cost: `stoker.load_safetensors` beside the usual ways, and four replicas of one platform.

A model of 24 square layers in 32-bit floats, its file in the page cache. Each way of loading runs in a fresh process
with torch imported and one thread; "to first result" adds a forward pass, which touches every weight; rounds are
interleaved, figures are medians. The last row is a function that loads the same file, scaled to four replicas, each of
which has answered: its times are the `enter` and `execute` phases of its first cold call. Memory is the proportional
set size of the processes (`smaps_rollup`), where a page that several map is counted once, beside the size of the file;
what is in no file are copies that the processes made. Wants the interpreter of `make examples-env`.

    python -m benchmarks.weights [--rounds 5] [--short]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.coldstart import TORCH_PYTHON, platform
from benchmarks.processes import memory_kib
from benchmarks.table import markdown, median, write_results

LAYERS, WIDTH, REPLICAS = 24, 4096, 4
PLATFORM_ROW = "a function with four replicas, through stoker.load_safetensors"
MODEL = f"""
import time, torch
from safetensors.torch import load_file

LAYERS, WIDTH = {LAYERS}, {WIDTH}

class Layers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x
"""
SAVE = (
    MODEL
    + """
import sys
from safetensors.torch import save_file
torch.manual_seed(1)
weights = {f"layers.{number}.weight": torch.rand(WIDTH, WIDTH) / 2048 for number in range(LAYERS)}
save_file(weights, sys.argv[1] + "/model.safetensors")
torch.save(weights, sys.argv[1] + "/model.pt")
"""
)
WAYS = {
    "stoker.load_safetensors": 'model = stoker.load_safetensors(folder + "/model.safetensors", Layers)',
    "load_file, load_state_dict": 'model = Layers(); model.load_state_dict(load_file(folder + "/model.safetensors"))',
    "torch.load, load_state_dict": 'model = Layers(); model.load_state_dict(torch.load(folder + "/model.pt"))',
}
ALONE = (
    MODEL
    + """
import json, sys
import stoker, stoker.weights
folder = sys.argv[1]
torch.set_num_threads(1)
began = time.perf_counter()
{way}
loaded = time.perf_counter()
with torch.inference_mode():
    model.eval()(torch.ones(1, WIDTH)).sum().item()
done = time.perf_counter()
kib = {{line.split(":")[0]: int(line.split()[1]) for line in list(open("/proc/self/smaps_rollup"))[1:]}}
print(json.dumps([loaded - began, done - began, kib["Pss"], kib["Pss_Anon"]]))
"""
)
FUNCTION = (
    MODEL
    + """
import stoker

class Loaded:
    def load(self):
        torch.set_num_threads(1)
        self.model = stoker.load_safetensors("{folder}/model.safetensors", Layers)

    def __call__(self, x: float) -> float:
        with torch.inference_mode():
            return self.model(torch.full((1, WIDTH), x)).sum().item()
"""
)
OPTIONS = {"scaling": {"max_replicas": REPLICAS, "keep_alive_s": 600}}


MIB = 1024


def alone(way: str, folder: str) -> list[float]:
    """Seconds to load, seconds to the first result, KiB of memory, KiB of them in no file."""
    command = [str(TORCH_PYTHON), "-c", ALONE.format(way=way), folder]
    found: list[float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def row(way: str, processes: int, figures: list[float], file_kib: float) -> dict[str, object]:
    """As shown."""
    load_s, result_s, memory, no_file = figures
    return {
        "way": way,
        "processes": processes,
        "load s": round(load_s, 3),
        "to first result s": round(result_s, 3),
        "memory MiB": round(memory / MIB),
        "memory / file": round(memory / file_kib, 2),
        "of it in no file MiB": round(no_file / MIB),
    }


def deployed(folder: str) -> list[float]:
    """The same weights in four real workers."""
    with platform(str(TORCH_PYTHON)) as (client, _):
        source = FUNCTION.replace("{folder}", folder)
        client.ask(
            "POST",
            "/v1/functions?dry_run=false",
            {"name": "loaded", "source": source, "handler": "Loaded", "options": OPTIONS},
        )
        _, receipt = client.timed_call("loaded", {"x": 1.0})
        phases = receipt["phases_ms"]
        assert isinstance(phases, dict)
        client.ask("POST", "/v1/functions/loaded/warmup", {"replicas": REPLICAS})
        replicas = client.describe("loaded")["replicas"]
        assert isinstance(replicas, list)
        with ThreadPoolExecutor(REPLICAS) as callers:
            list(callers.map(lambda _: client.timed_call("loaded", {"x": 1.0}), range(8 * REPLICAS)))
        kib = [memory_kib(int(replica["pid"])) for replica in replicas]
    untouched = [one["Rss"] for one in kib if one["Rss"] < LAYERS * WIDTH * WIDTH * 4 // 1024]
    if len(kib) != REPLICAS or untouched:
        raise RuntimeError(f"not {REPLICAS} replicas that use all weights: {kib}")
    load_s, execute_s = phases["enter"] / 1000, phases["execute"] / 1000
    return [load_s, load_s + execute_s, sum(one["Pss"] for one in kib), sum(one["Pss_Anon"] for one in kib)]


def measure(rounds: int) -> list[dict[str, object]]:
    """Rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # workers have a user of their own
        subprocess.run([str(TORCH_PYTHON), "-c", SAVE, folder], check=True)
        file_kib = Path(folder, "model.safetensors").stat().st_size / 1024
        runs: dict[str, list[list[float]]] = {name: [] for name in WAYS}
        for _ in range(rounds):
            for name, way in WAYS.items():
                runs[name].append(alone(way, folder))
        rows = [
            row(name, 1, [median(column) for column in zip(*found, strict=True)], file_kib)
            for name, found in runs.items()
        ]
        rows.append(row(PLATFORM_ROW, REPLICAS, deployed(folder), file_kib))
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    if not TORCH_PYTHON.exists():
        print("left out: needs torch; run `make examples-env` first")
        return
    rows = measure(1 if args.short else args.rounds)
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
