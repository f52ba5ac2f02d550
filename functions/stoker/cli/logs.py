"""``stoker logs``: what a function's workers printed.

The rule that must not break: with ``-f`` a line is shown when it is written, until Ctrl-C.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import click

from stoker import routes
from stoker.cli.examples import examples
from stoker.cli.output import json_option, styled
from stoker.cli.platform import Document, platform
from stoker.cli.reference import FUNCTION, Reference


@click.command(
    epilog=examples(
        "stoker logs embed", "stoker logs -f embed", "stoker logs -f embed@3", "stoker logs embed@3 --lines 500 --json"
    )
)
@click.argument("function", type=FUNCTION)
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--lines", type=click.IntRange(min=0), default=100, show_default=True, help="Lines from the past.")
@click.option("-t", "--timestamps", is_flag=True, help="When each line was written.")
@json_option
def logs(function: Reference, follow: bool, lines: int, timestamps: bool, as_json: bool) -> None:
    """Show what FUNCTION printed, line by line with replica and invocation; name@3 shows one revision."""
    with platform() as client:
        if follow:
            entries: Iterable[Document] = client.follow_logs(
                function.name, function.namespace, lines=lines, revision=function.revision
            )
        else:
            route = routes.logs(function.name, function.namespace, lines=lines, revision=function.revision)
            entries = entries_of(client.request(route))
        for entry in entries:
            click.echo(json.dumps(entry) if as_json else line_of(entry, timestamps))


def entries_of(answer: object) -> list[Document]:
    """Log lines as documents, from JSON lines or plain ones."""
    if isinstance(answer, dict):
        answer = answer.get("lines", [])
    if isinstance(answer, list):
        return [item if isinstance(item, dict) else {"line": str(item)} for item in answer]
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer or "")
    return [_entry(line) for line in text.splitlines()]


def line_of(entry: Document, timestamps: bool) -> str:
    """One line for a person."""
    who = " ".join(str(entry[key])[-8:] for key in ("replica", "invocation") if entry.get(key))
    when = f"{entry.get('time', '')} " if timestamps else ""
    text = str(entry.get("line", ""))
    if entry.get("stream") == "stderr":
        text = styled(text, "yellow")
    return (styled(f"{when}{who}", "dim") + "  " if who or when else "") + text


def _entry(line: str) -> Document:
    try:
        entry = json.loads(line)
    except ValueError:
        return {"line": line}
    return entry if isinstance(entry, dict) and "line" in entry else {"line": line}
