"""How far a run of several replays has come, for a terminal.

The rule that must not break: it writes to standard error, and only where that is a terminal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from stoker.cli.output import console, is_terminal
from stoker_pool.simulation.runs import Progress


@contextlib.contextmanager
def progress_bar(replays: int) -> Iterator[Progress | None]:
    """A bar over ``replays`` replays; None where nobody watches."""
    if not is_terminal(err=True):
        yield None
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    with Bar(*columns, TimeRemainingColumn(), console=console(err=True), transient=True) as bar:
        task = bar.add_task("simulating", total=float(replays))
        shares: dict[str, float] = {}

        def note_progress(label: str, share: float) -> None:
            shares[label] = share
            bar.update(task, description=label, completed=sum(shares.values()))

        yield note_progress
