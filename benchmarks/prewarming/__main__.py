"""Cold starts against idle time on production traces: our forecast beside published policies, in one simulator.

The first 40 % of each trace train, the rest is scored; waste is idle loaded time, where a fixed keep-alive of
ten minutes is 1. Traces are read from a folder (`../shared/traces`), and what is absent is left out.

    python -m benchmarks.prewarming [--short] [--traces FOLDER] [--jobs 2] [--only NAME …]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.prewarming import comparisons
from benchmarks.prewarming.comparisons import AZURE, FIXED, GENTD, HISTOGRAMS, TRACES, Row
from benchmarks.prewarming.decision_cost import kib_per_function, microseconds
from benchmarks.prewarming.replays import Replays
from benchmarks.table import markdown, write_results
from stoker_pool.simulation.chart import draw_svg
from stoker_pool.simulation.trace_files import read_trace

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs/images"


def main() -> None:
    """Replay, print the tables, write the JSON and the charts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="few settings, and not the two weeks of servegen_large")
    parser.add_argument("--traces", type=Path, default=ROOT.parent / "shared/traces")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="only these traces")
    args = parser.parse_args()
    wanted = args.only or [name for name in TRACES if not (args.short and name == "servegen_large")]
    traces = [name for name in wanted if (args.traces / f"{name}.npz").exists()]
    for name in set(wanted) - set(traces):
        print(f"no trace {name} in {args.traces}: left out")
    if not traces:
        print("no trace at all: nothing to measure. See docs/prewarming.md for how to record one of your own.")
        sys.exit(0)
    fixed = ("fixed:300", "fixed:600", "fixed:1200") if args.short else FIXED
    replays = Replays(args.traces, args.jobs)
    replays.run(task for name in traces for task in comparisons.open_tasks(name, is_short=args.short))
    scarce = [name for name in traces if name in GENTD]
    replays.run(task for name in scarce for task in comparisons.scarce_tasks(name))
    tables = {
        "known_figures": comparisons.known_figures(replays, traces),
        "targets": comparisons.targets(replays, traces, fixed, is_short=args.short),
        "scarce_room": comparisons.scarce_room(replays, scarce),
        "decision_cost": decision_cost(args.traces, traces),
    }
    for title, rows in tables.items():
        if rows:
            print(f"### {title}\n\n{markdown(rows)}\n")
    if not args.short and not args.only:
        IMAGES.mkdir(exist_ok=True)
        for name in (AZURE, GENTD[0]):
            if name in traces:
                (IMAGES / f"prewarming_{name.partition('_')[0]}.svg").write_text(chart(replays, name))
        flat = [{"table": title, **row} for title, rows in tables.items() for row in rows]
        write_results("prewarming", flat)


def decision_cost(folder: Path, traces: list[str]) -> list[Row]:
    """What the forecast takes per invocation, and holds per function (at most 100 µs, better 25; 4 KiB)."""
    rows: list[Row] = []
    for name in (name for name in traces if name != "servegen_large"):
        trace = read_trace(folder / f"{name}.npz")
        took_us = microseconds(trace)
        rows.append(
            {
                "trace": name,
                "functions": len(trace.functions),
                "invocations per row": f"{trace.calls / len(trace.times_s):.1f}",
                "CPU µs per row": f"{took_us / len(trace.times_s):.0f}",
                "CPU µs per invocation": f"{took_us / trace.calls:.1f}",
                "KiB per function": f"{kib_per_function(trace):.2f}",
            }
        )
    return rows


def chart(replays: Replays, trace: str) -> str:
    """The Pareto front."""
    return draw_svg(
        f"{trace}: cold starts against idle time",
        {
            "Stoker, adaptive": replays.curve(trace, comparisons.adaptive(trace)),
            "hybrid histogram": replays.curve(trace, HISTOGRAMS),
            "fixed keep-alive": replays.curve(trace, FIXED),
            "Knative defaults": (replays.point(trace, "knative"),),
        },
    )


if __name__ == "__main__":
    main()
