"""A trace: which function was called when, how often, and for how long.

The rule that must not break: rows are sorted by time, every number is finite, and whoever reads a file that cannot be
made so is told the row and what to do about it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from stoker.errors import InvalidInput
from stoker_pool.call_log import Row

DAY_S: Final = 86_400.0
MONDAY_S: Final = 4 * DAY_S
"""A Monday at 00:00 UTC: where traces start that know the time of day and not the date."""
_GAP_S: Final = 6 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Columns, sorted by time; times are Unix seconds."""

    functions: tuple[str, ...]
    times_s: Sequence[float]
    owners: Sequence[int]
    """Which function each row belongs to, as an index of ``functions``."""
    counts: Sequence[int]
    """Calls that the row stands for: so close together that only the first can meet a cold instance."""
    durations_s: Sequence[float]
    start_s: float
    end_s: float
    source: str = ""
    warnings: tuple[str, ...] = field(default=())

    @property
    def calls(self) -> int:
        """All calls."""
        return sum(self.counts)

    @property
    def span_s(self) -> float:
        """From the start to the end."""
        return self.end_s - self.start_s

    def next_times_s(self) -> list[float]:
        """For each row, when the same function is called next; infinity after its last."""
        coming = [math.inf] * len(self.functions)
        found = [math.inf] * len(self.times_s)
        for row in range(len(self.times_s) - 1, -1, -1):
            owner = self.owners[row]
            found[row] = coming[owner]
            coming[owner] = self.times_s[row]
        return found

    def part(self, functions: int) -> Trace:
        """Only the first so many functions."""
        rows = [row for row, owner in enumerate(self.owners) if owner < functions]
        return Trace(
            functions=self.functions[:functions],
            times_s=[self.times_s[row] for row in rows],
            owners=[self.owners[row] for row in rows],
            counts=[self.counts[row] for row in rows],
            durations_s=[self.durations_s[row] for row in rows],
            start_s=self.start_s,
            end_s=self.end_s,
            source=self.source,
            warnings=self.warnings,
        )


def trace_of(
    rows: Iterable[Row], *, source: str = "", start_s: float | None = None, end_s: float | None = None
) -> Trace:
    """A trace from rows in any order; raises ``InvalidInput`` naming the first row that is none."""
    kept: list[tuple[float, int, int, float]] = []
    index: dict[str, int] = {}
    is_sorted, last_s = True, -math.inf
    for number, (function, at_s, count, duration_s) in enumerate(rows, start=1):
        _check(source, number, at_s, count, duration_s)
        is_sorted = is_sorted and at_s >= last_s
        last_s = at_s
        kept.append((at_s, index.setdefault(function, len(index)), count, duration_s))
    if not kept:
        raise InvalidInput(
            f"{source or 'the trace'} holds no call",
            hint="Record some traffic first, or name another file.",
        )
    warnings: list[str] = []
    if not is_sorted:
        warnings.append("rows were not in the order of time: sorted")
        kept.sort(key=lambda row: row[0])
    first_s = kept[0][0] if start_s is None else start_s
    ended_s = max(at_s + duration_s for at_s, _, _, duration_s in kept) if end_s is None else end_s
    warnings += gaps_in([row[0] for row in kept], first_s, ended_s)
    return Trace(
        functions=tuple(index),
        times_s=[row[0] for row in kept],
        owners=[row[1] for row in kept],
        counts=[row[2] for row in kept],
        durations_s=[row[3] for row in kept],
        start_s=first_s,
        end_s=max(ended_s, first_s + 1e-6),
        source=source,
        warnings=tuple(warnings),
    )


def gaps_in(times_s: Sequence[float], start_s: float, end_s: float) -> list[str]:
    """What to say about long stretches without any call: a recorder that was off looks like no traffic."""
    points = [start_s, *times_s, end_s]
    longest_s, at_s = max((later - earlier, earlier) for earlier, later in itertools.pairwise(points))
    if longest_s <= max(_GAP_S, 0.1 * (end_s - start_s)):
        return []
    return [
        f"no call of any function for {longest_s / 3600:.1f} h from {at_s - start_s:.0f} s on: "
        "taken as a time without traffic, so cut the trace there if nothing was recorded"
    ]


def _check(source: str, number: int, at_s: float, count: int, duration_s: float) -> None:
    where = f"{source or 'the trace'}, row {number}"
    if not math.isfinite(at_s) or at_s < 0:
        raise InvalidInput(f"{where}: t must be seconds >= 0, got {at_s}", hint="Drop or mend the row.")
    if count < 1:
        raise InvalidInput(f"{where}: n must be >= 1, got {count}", hint="A row without calls is no row: drop it.")
    if not math.isfinite(duration_s) or duration_s < 0:
        raise InvalidInput(f"{where}: d must be seconds >= 0, got {duration_s}", hint="Write 0 where it is not known.")
