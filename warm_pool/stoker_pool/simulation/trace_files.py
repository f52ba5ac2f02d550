"""Reads and writes traces as files: our own CSV, and the ``.npz`` layout that published traces were converted to.

Our CSV has the head ``function,t,n,d``: who was called, when (seconds; Unix time in what ``stoker history export``
writes), how many calls at once, and for how many seconds they ran; ``n`` and ``d`` may be left out (1 and 0). Lines
that begin with ``#`` are remarks, of which ``# start=SECONDS`` and ``# end=SECONDS`` say what was recorded.

The rule that must not break: a damaged file is refused with the line and what to do about it, never half read.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import numpy

from stoker.errors import InvalidInput
from stoker_pool.call_log import COLUMNS, Row
from stoker_pool.simulation.trace import MONDAY_S, Trace, trace_of

_ARRAYS: Final = ("t", "n", "d", "off", "names")


def read_trace(path: Path) -> Trace:
    """The trace in a file; raises ``InvalidInput``."""
    try:
        if path.suffix == ".npz":
            return _read_npz(path)
        with open(path, encoding="utf-8", newline="") as file:
            return read_csv(file, path.name)
    except FileNotFoundError:
        raise InvalidInput(f"there is no file {path}", hint="Export one: stoker history export -o trace.csv") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path} cannot be read as a trace: {error}",
            hint="A trace is a CSV with the head function,t,n,d or an .npz.",
        ) from error


def read_csv(file: IO[str], source: str) -> Trace:
    """A trace from the lines of our CSV."""
    remarks: dict[str, float] = {}
    rows = list(_csv_rows(file, source, remarks))
    first_s = min((row[1] for row in rows), default=0.0)
    last_s = max((row[1] + row[3] for row in rows), default=0.0)
    return trace_of(
        rows,
        source=source,
        start_s=min(remarks.get("start", first_s), first_s),
        end_s=max(remarks.get("end", last_s), last_s),
    )


def _csv_rows(file: IO[str], source: str, remarks: dict[str, float]) -> Iterator[Row]:
    places: dict[str, int] | None = None
    for number, line in enumerate(file, start=1):
        if line.startswith("#"):
            _note_remark(line, remarks)
            continue
        if not line.strip():
            continue
        cells = next(csv.reader(io.StringIO(line)))
        if places is None:
            places = _places(cells, source)
            continue
        yield _row(cells, places, f"{source}, line {number}")


def _places(head: list[str], source: str) -> dict[str, int]:
    places = {name.strip(): place for place, name in enumerate(head)}
    missing = [name for name in COLUMNS[:2] if name not in places]
    if missing:
        raise InvalidInput(
            f"{source} has no column {' and no column '.join(missing)}; its head is {','.join(head)[:120]!r}",
            hint="The first line must be function,t,n,d (n and d may be left out).",
        )
    return places


def _row(cells: list[str], places: dict[str, int], where: str) -> Row:
    try:
        count = float(cells[places["n"]]) if "n" in places else 1.0
        duration_s = float(cells[places["d"]]) if "d" in places else 0.0
        row = (cells[places["function"]], float(cells[places["t"]]), int(count), duration_s)
    except (ValueError, IndexError, OverflowError) as error:
        raise InvalidInput(
            f"{where} is no row of a trace: {','.join(cells)[:120]!r} ({error})",
            hint="It must be a name and three numbers: function,t,n,d. Was the file cut short?",
        ) from None
    if count != row[2]:
        raise InvalidInput(f"{where}: n must be a whole number, got {count}", hint="Give one row per call instead.")
    if not row[0]:
        raise InvalidInput(f"{where} names no function", hint="The first column must not be empty.")
    return row


def _note_remark(line: str, remarks: dict[str, float]) -> None:
    name, _, value = line.lstrip("# ").strip().partition("=")
    if name in ("start", "end"):
        try:
            remarks[name] = float(value)
        except ValueError:
            pass  # a remark in somebody's own words


def _read_npz(path: Path) -> Trace:
    try:
        with open(path, "rb") as file, numpy.load(file, allow_pickle=False) as archive:
            missing = [name for name in _ARRAYS if name not in archive.files]
            if missing:
                raise InvalidInput(
                    f"{path.name} has no array {', '.join(missing)}; it has {', '.join(archive.files)}",
                    hint="Only traces per function can be replayed: arrays t, n, d, off and names.",
                )
            columns = {name: archive[name].tolist() for name in _ARRAYS}
            meta = json.loads(str(archive["meta"])) if "meta" in archive.files else {}
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"{path.name} is no whole .npz archive: {error}", hint="Download it again.") from error
    names, offsets = columns["names"], columns["off"]
    if offsets[:1] != [0] or offsets[-1] != len(columns["t"]) or len(offsets) != len(names) + 1:
        raise InvalidInput(
            f"{path.name}: off does not fit names and t", hint="off[f]:off[f+1] must be the events of function f."
        )
    offset_s = MONDAY_S + float(meta.get("tod_offset_s", 0.0))
    owners = [owner for owner in range(len(names)) for _ in range(offsets[owner + 1] - offsets[owner])]
    entries = sorted(zip(columns["t"], owners, columns["n"], columns["d"], strict=True))
    rows = (
        (f"{names[owner]}#{owner}", offset_s + at_s, count, duration_s) for at_s, owner, count, duration_s in entries
    )
    end_s = offset_s + float(meta["horizon_s"]) if "horizon_s" in meta else None
    return trace_of(rows, source=path.name, start_s=offset_s, end_s=end_s)
