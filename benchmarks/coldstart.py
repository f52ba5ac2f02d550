"""What a cold call costs: a scale-from-zero through Stoker beside a fresh Python process that does the same.

The function is examples/02_embeddings.py (int8 MiniLM on onnxruntime): import, open model and tokenizer, embed one
text. Both use the same environment, built beforehand, page cache warm; rounds are interleaved; figures are medians.
Stoker's figure is what the HTTP caller waits, with no replica running when the call arrives.

    python -m benchmarks.coldstart [--rounds 15] [--short]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.platform_client import PlatformClient
from benchmarks.serving import free_port, process
from benchmarks.table import markdown, median, write_results

EXAMPLE = Path(__file__).resolve().parent.parent / "examples/02_embeddings.py"
FRESH = """
import sys, types

class Anything:
    def __init__(self, *args, **options): pass

def keep(target=None, **options):
    return keep if target is None else target

stoker = types.ModuleType("stoker")
stoker.Environment = stoker.Batch = stoker.Scaling = Anything
stoker.function = stoker.method = stoker.enter = stoker.exit = keep
sys.modules["stoker"] = stoker
scope = {"__name__": "example"}
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), scope)
model = scope["Embed"]()
model.load()
print(len(model(["a cold call"])[0]))
"""
"""The example with decorators that do nothing: what a user would run without any platform."""


def fresh_process(python: str) -> float:
    """Milliseconds of a new interpreter that answers one call and leaves."""
    began = time.perf_counter()
    subprocess.run([python, "-c", FRESH, str(EXAMPLE)], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


def cold_call(platform: PlatformClient) -> tuple[float, dict[str, float]]:
    """Milliseconds that the caller waited, and the phases of the receipt."""
    platform.wait_for_zero("embed")
    took_ms, receipt = platform.timed_call("embed", {"text": "a cold call"})
    phases = receipt["phases_ms"]
    if not receipt["cold"] or not isinstance(phases, dict):
        raise RuntimeError(f"not a cold call: {receipt}")
    return took_ms, phases


def environment_python(data_dir: str) -> str:
    """The interpreter of the only environment that was built."""
    found = sorted(Path(data_dir).glob("**/bin/python"))
    if len(found) != 1:
        raise RuntimeError(f"expected one environment under {data_dir}, found {found}")
    return str(found[0])


def measure(rounds: int) -> list[dict[str, object]]:
    """Rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        env = {"STOKER_DATA_DIR": folder}
        stoker = [sys.executable, "-m", "stoker.cli.main"]
        with process([*stoker, "serve", "--port", str(port), "--data-dir", folder], f"127.0.0.1:{port}"):
            connection = json.loads(Path(folder, "connection.json").read_text())
            deploy = [*stoker, "deploy", str(EXAMPLE)]
            subprocess.run(deploy, env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL)
            platform = PlatformClient(f"http://127.0.0.1:{port}", connection["token"])
            platform.ask("PUT", "/v1/functions/embed/scaling", {"keep_alive_s": 0.1})
            python = environment_python(folder)
            fresh_ms, cold = [], []
            for _ in range(rounds):
                fresh_ms.append(fresh_process(python))
                cold.append(cold_call(platform))
    fresh, stoker_ms = median(fresh_ms), median(took for took, _ in cold)
    phases = {name: median(phases.get(name, 0.0) for _, phases in cold) for name in cold[0][1]}
    shown = ", ".join(f"{name} {ms:.1f}" for name, ms in phases.items() if ms >= 0.05 and name not in ("total", "cold"))
    return [
        {"way": "a fresh Python process", "p50 ms": round(fresh), "ratio": "1.0", "phases ms": ""},
        {
            "way": "Stoker, cold call",
            "p50 ms": round(stoker_ms),
            "ratio": f"{fresh / stoker_ms:.1f}",
            "phases ms": shown,
        },
    ]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    rows = measure(5 if args.short else args.rounds)
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
