"""What commands print of batch runs.

The rule that must not break: a figure that is a guess is marked by ``~``.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from stoker.batch_bar import line_of, span
from stoker.cli.output import note, print_fields
from stoker.cli.platform import Document


def batch_row(item: Document) -> tuple[object, ...]:
    """One line of the list."""
    progress = item["progress"]
    return (
        item["id"],
        _function(item),
        item["state"],
        progress["done"],
        progress["failed"] or None,
        _total(progress),
        str(item["created_at"])[:19],
    )


def print_batch(document: Document) -> None:
    """All that a person wants to know."""
    progress = document["progress"]
    problem = document["problem"] or {}
    fields: dict[str, object] = {
        "id": document["id"],
        "function": _function(document),
        "state": document["state"],
        "progress": line_of(progress),
        "input": ", ".join(document["input"] or []) or f"{document['inline_rows']} rows",
        "output": document["output"] or f"kept: stoker batch fetch {document['id']} FOLDER",
        "deadline": document["deadline"],
        "created": document["created_at"],
        "started": document["started_at"],
        "ended": document["ended_at"],
        "problem": problem.get("detail"),
        "fix": problem.get("hint"),
    }
    print_fields({name: value for name, value in fields.items() if value is not None})
    for line in failure_lines(document):
        note(line)


def print_estimate(found: Document) -> None:
    """What a dry run says."""
    guess = found["estimate"]
    mark = "" if guess["is_rows_exact"] else "~"
    fields: dict[str, object] = {
        "function": found["function"],
        "files": len(found["files"]),
        "columns": ", ".join(found["columns"]),
        "mapping": ", ".join(f"{column} → {name}" for column, name in found["mapping"].items()),
        "rows": None if guess["rows"] is None else f"{mark}{guess['rows']:,}",
        "duration": None if guess["duration_s"] is None else f"~{span(guess['duration_s'])}, on {guess['replicas']}",
        "replica time": None if guess["replica_seconds"] is None else f"~{span(guess['replica_seconds'])}",
        "cost": None if guess["cost"] is None else f"~{guess['cost']:g}",
        "note": guess["note"],
    }
    print_fields({name: value for name, value in fields.items() if value not in (None, "")})
    for row in found["bad_rows"]:
        note(f"{row['where']}: {row['message']}")
    click.echo("Nothing was started.", err=True)


def failure_lines(document: Document) -> Iterator[str]:
    """The first failures, one a line."""
    for error in document["progress"]["errors"]:
        yield f"  {error.get('where')}: {error.get('code')}: {error.get('message')}"


def _function(item: Document) -> str:
    place = "" if item["namespace"] == "default" else f"{item['namespace']}/"
    at = f"@{item['revision']}" if item["revision"] else ""
    return f"{place}{item['function']}{at}"


def _total(progress: Document) -> object:
    total = progress["total"]
    return total if total is None or progress["is_total_exact"] else f"~{total}"
