"""How commands print: tables and colours on a terminal, tab-separated lines in a pipe, JSON where it is asked for.

The rule that must not break: standard output holds the answer and nothing else; notes and progress go to standard
error, and progress only where that is a terminal.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_Command = TypeVar("_Command", bound=Callable[..., object])
_JSON_ASKED: Final = "stoker.json"
PROGRESS_AFTER_S: Final = 1.0


def json_option(command: _Command) -> _Command:
    """``--json``: print the platform's answer as it is."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
        if value:
            ctx.find_root().meta[_JSON_ASKED] = True
        return value

    return click.option("--json", "as_json", is_flag=True, callback=remember, help="Print JSON, keys in snake_case.")(
        command
    )


def is_json_asked(ctx: click.Context) -> bool:
    """Whether this command line holds ``--json``."""
    return bool(ctx.find_root().meta.get(_JSON_ASKED))


def console(*, err: bool = False) -> Console:
    """A terminal to draw on; honours NO_COLOR."""
    from rich.console import Console

    return Console(stderr=err, highlight=False, soft_wrap=not err, markup=False)


def is_terminal(*, err: bool = False) -> bool:
    """Whether a person reads it as it is written."""
    return (sys.stderr if err else sys.stdout).isatty()


def styled(text: str, style: str, *, err: bool = False) -> str:
    """The text in a rich style on a terminal, as it is elsewhere."""
    if not is_terminal(err=err):
        return text
    from rich.text import Text

    screen = console(err=err)
    with screen.capture() as capture:
        screen.print(Text(text, style=style), end="", soft_wrap=True)
    return capture.get()


def print_json(value: object) -> None:
    """One JSON document: indented for a person, one line for a pipe."""
    click.echo(json.dumps(value, indent=2 if is_terminal() else None, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str = "") -> None:
    """A table on a terminal; without a head and tab-separated in a pipe."""
    if not is_terminal():
        for row in rows:
            click.echo("\t".join(_cell(value, "").replace("\t", " ") for value in row))
    elif rows:
        draw(rich_table(columns, rows))
    if not rows and empty:
        note(empty)


def draw(*parts: RenderableType) -> None:
    """Draw on the terminal; what is wider than it wraps instead of losing its end."""
    from rich.measure import Measurement

    screen = console()
    wide = max(Measurement.get(screen, screen.options.update(max_width=10_000), part).maximum for part in parts)
    screen.width = max(screen.width, wide)
    for part in parts:
        screen.print(part)


def rich_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """The table as rich draws it."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.upper(), no_wrap=True)
    for row in rows:
        table.add_row(*(Text(_cell(value, "-"), style=_STATES.get(str(value), "")) for value in row))
    return table


def print_fields(fields: dict[str, object]) -> None:
    """Names and values, one a line."""
    width = max(map(len, fields), default=0) + 2
    for name, value in fields.items():
        if is_terminal():
            click.echo(styled(name.ljust(width), "bold") + styled(_cell(value, "-"), _STATES.get(str(value), "")))
        else:
            click.echo(f"{name}\t{_cell(value, '')}")


def note(text: str) -> None:
    """A remark beside the answer."""
    click.echo(text, err=True)


@contextlib.contextmanager
def progress(what: str) -> Iterator[None]:
    """A spinner for what takes longer than a second, on a terminal only."""
    if not is_terminal(err=True):
        yield
        return
    status = console(err=True).status(what)
    timer = threading.Timer(PROGRESS_AFTER_S, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()


def size(size_bytes: object) -> str:
    """``1.5 GiB``."""
    if not isinstance(size_bytes, (int, float)):
        return ""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def split_text(weights: Any) -> str:
    """``3`` for all calls, ``2:90,3:10`` for a split."""
    if not isinstance(weights, dict):
        return str(weights)
    if len(weights) == 1:
        return str(next(iter(weights)))
    return ",".join(f"{revision}:{weight}" for revision, weight in weights.items())


_STATES: Final = {
    "ready": "green",
    "hot": "green",
    "starting": "yellow",
    "draining": "yellow",
    "idle": "dim",
    "failed": "red",
    "crash_looping": "red",
    "stopped": "dim",
    "cold": "dim",
}


def _cell(value: object, empty: str) -> str:
    if value is None or value == "":
        return empty
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
