"""What every benchmark prints and writes: a Markdown table, the machine it ran on, and a JSON file beside it."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def median(values: Iterable[float]) -> float:
    """The median as a float."""
    return float(statistics.median(values))


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows with the same keys as a Markdown table."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "| " + " | ".join("---" for _ in columns) + " |"]
    lines += ["| " + " | ".join(str(row[column]) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory_kib / 1024 / 1024),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "gpu": "none",
    }


def write_results(name: str, rows: Sequence[Mapping[str, object]]) -> None:
    """``benchmarks/results/{name}.json``: rows, machine and date; docs are generated from it."""
    RESULTS.mkdir(exist_ok=True)
    document = {"benchmark": name, "date": datetime.now(timezone.utc).date().isoformat(), "machine": machine()}
    (RESULTS / f"{name}.json").write_text(json.dumps({**document, "rows": list(rows)}, indent=1) + "\n")
