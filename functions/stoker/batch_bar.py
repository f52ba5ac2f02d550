"""How far a batch run is, as a line on a terminal.

The rule that must not break: nothing is drawn where nobody looks, and standard output stays free.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

Json = dict[str, Any]


def watched(documents: Iterable[Json], progress: bool | None) -> Iterator[Json]:
    """The same documents, drawn as they pass. ``progress`` None: where standard error is a terminal."""
    if not (sys.stderr.isatty() if progress is None else progress):
        yield from documents
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[line]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=None, line="")
        for document in documents:
            found = document["progress"]
            bar.update(
                task,
                description=_title(document),
                total=found["total"],
                completed=found["done"],
                line=line_of(found),
            )
            yield document


def line_of(progress: Json) -> str:
    """``12,000 of ~100,000 · 850/s · batch 31.8 · 3 failed · 1m 43s left``."""
    total = progress["total"]
    mark = "" if progress["is_total_exact"] else "~"
    parts = [f"{progress['done']:,}" + (f" of {mark}{total:,}" if total is not None else "")]
    if progress["rate_per_s"]:
        parts.append(f"{progress['rate_per_s']:,.0f}/s")
    if progress["batch_size"]:
        parts.append(f"batch {progress['batch_size']:g}")
    if progress["failed"]:
        parts.append(f"{progress['failed']:,} failed")
    if progress["eta_s"]:
        parts.append(f"{span(progress['eta_s'])} left")
    if progress["waiting_for"]:
        parts.append(str(progress["waiting_for"]))
    return " · ".join(parts)


def span(seconds: float) -> str:
    """``1h 5m``, ``1m 43s``, ``12s``."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {whole % 60}s" if minutes else f"{whole}s"


def _title(document: Json) -> str:
    return f"{document['function']} {document['state']}"
