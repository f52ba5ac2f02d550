"""Writes results where other programs read them: a CSV table and a chart.

The rule that must not break: a file is whole or not there.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from stoker.errors import InvalidInput
from stoker_pool.simulation.chart import draw_svg
from stoker_pool.simulation.chart_png import draw_png
from stoker_pool.simulation.pareto import Point, curve
from stoker_pool.simulation.results import Results

COLUMNS: Final = (
    "policy",
    "calls",
    "cold_starts",
    "host_starts",
    "cold_share",
    "p50_function_cold_share",
    "p75_function_cold_share",
    "p90_function_cold_share",
    "p99_function_cold_share",
    "waste",
    "idle_s",
    "busy_s",
    "loading_s",
    "loads",
    "p99_start_s",
    "mean_start_s",
    "prewarms",
    "prewarms_used",
    "prewarms_wasted",
)


def row_of(result: Results) -> tuple[object, ...]:
    """One result as the CSV has it."""
    return (
        result.policy,
        result.calls,
        result.cold_starts,
        result.host_starts,
        f"{result.cold_share:.8g}",
        *(f"{share:.6g}" for share in result.function_cold_shares),
        f"{result.waste:.6g}",
        *(f"{seconds:.3f}" for seconds in (result.idle_s, result.busy_s, result.loading_s)),
        result.loads,
        f"{result.p99_start_s:.3f}",
        f"{result.mean_start_s:.6g}",
        result.prewarms,
        result.prewarms_used,
        result.prewarms_wasted,
    )


def save_csv(path: Path, results: Sequence[Results]) -> None:
    """One line per policy."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(row_of(result) for result in results)
    _replace(path, text.getvalue())


def save_chart(path: Path, source: str, results: Sequence[Results]) -> None:
    """One curve per policy family, through its settings; SVG or PNG by the name's ending."""
    curves, title = curves_of(results), f"{source}: cold starts against idle time"
    if path.suffix == ".svg":
        _replace(path, draw_svg(title, curves))
    elif path.suffix == ".png":
        _replace(path, draw_png(title, curves))
    else:
        raise InvalidInput(f"a chart must end in .svg or .png, got {path.name!r}", hint="Name it pareto.svg.")


def curves_of(results: Sequence[Results]) -> Mapping[str, Sequence[Point]]:
    """Results of one policy at several settings are one curve."""
    families: dict[str, list[Point]] = {}
    for result in results:
        families.setdefault(result.policy.partition(":")[0], []).append(Point(result.waste, result.cold_share))
    return {name: curve(points) for name, points in families.items()}


def _replace(path: Path, content: str | bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(partial, path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error}", hint="Name a file in a folder that exists.") from error
