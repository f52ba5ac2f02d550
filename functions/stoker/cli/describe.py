"""``stoker describe``: all that the platform knows about one function.

The rule that must not break: a function that does not start says here why.
"""

from __future__ import annotations

from typing import Any, Final

import click

from stoker import routes
from stoker.cli.examples import examples
from stoker.cli.forecast import print_forecast
from stoker.cli.functions import aliases_text
from stoker.cli.output import json_option, print_fields, print_json, print_table, size, styled
from stoker.cli.platform import Document, ask
from stoker.cli.reference import FUNCTION, Reference

REPLICA_COLUMNS: Final = ("replica", "state", "revision", "device", "pid", "memory", "in flight", "idle s")


@click.command(epilog=examples("stoker describe embed", "stoker describe embed --json | jq .stats"))
@click.argument("function", type=FUNCTION)
@json_option
def describe(function: Reference, as_json: bool) -> None:
    """Show FUNCTION: revisions, aliases, replicas, figures, scaling, input, and why it does not start."""
    answer = ask(routes.function(function.name, function.namespace))
    if as_json:
        print_json(answer)
        return
    print_fields(_overview(answer))
    replicas = answer.get("replicas") or []
    if replicas:
        click.echo()
        print_table(REPLICA_COLUMNS, [replica_row(item) for item in replicas])
    print_forecast(answer.get("forecast"))
    _print_breaker(answer.get("breaker"))


def replica_row(item: Document) -> tuple[object, ...]:
    """A replica as a row of a table."""
    return (
        item.get("id"),
        item.get("state"),
        item.get("revision"),
        item.get("device"),
        item.get("pid"),
        size(item.get("memory_bytes")),
        item.get("in_flight"),
        _rounded(item.get("idle_s")),
    )


def _overview(answer: Document) -> dict[str, object]:
    revisions = sorted(item["revision"] for item in answer.get("revisions") or [])
    newest: Document = next((r for r in answer.get("revisions") or [] if r["revision"] == revisions[-1]), {})
    fields: dict[str, object] = {
        "name": answer.get("name"),
        "namespace": answer.get("namespace"),
        "url": answer.get("url"),
        "state": answer.get("state"),
        "revisions": _revisions_text(revisions),
        "deployed": newest.get("created_at"),
        "aliases": aliases_text(answer.get("aliases"), newest.get("revision")),
        "scaling": _scaling_text(answer.get("scaling")),
        "batch": _pairs_text((newest.get("options") or {}).get("batch")),
        "input": _input_text(answer.get("schema")),
    }
    stats = answer.get("stats") or {}
    for name in ("calls", "errors", "cold_starts", "queue_depth", "in_flight", "p50_ms", "p99_ms"):
        if name in stats:
            fields[name.replace("_", " ")] = _rounded(stats[name])
    if (stats.get("batch") or {}).get("max"):
        fields["batch sizes"] = _pairs_text(stats["batch"])
    return fields


def _print_breaker(breaker: Any) -> None:
    if not breaker:
        return
    document = breaker if isinstance(breaker, dict) else {"reason": breaker}
    click.echo()
    click.echo(styled("It does not start, and is not tried any more (stoker retry tries again):", "bold red"))
    click.echo(f"  {document.get('reason') or document.get('detail') or ''}")
    for line in str(document.get("log_tail") or "").splitlines():
        click.echo(f"    {line}")


def _revisions_text(revisions: list[int]) -> str:
    if len(revisions) <= 6:
        return ", ".join(map(str, revisions))
    return f"{revisions[0]} … {revisions[-1]} ({len(revisions)})"


def _pairs_text(values: object) -> str:
    if not isinstance(values, dict):
        return ""
    return " ".join(f"{name}={_rounded(value)}" for name, value in values.items() if value is not None)


def _scaling_text(scaling: object) -> str:
    if not isinstance(scaling, dict):
        return ""
    settings = {name: value for name, value in scaling.items() if name != "is_override" and value != []}
    return _pairs_text(settings) + (" (set at run time)" if scaling.get("is_override") else "")


def _input_text(schema: object) -> str:
    """``text: string, limit: integer = 10``."""
    if not isinstance(schema, dict):
        return ""
    schema = schema.get("input", schema)
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return ""
    return ", ".join(
        f"{name}: {item.get('type', 'any')}" + (f" = {item['default']}" if "default" in item else "")
        for name, item in properties.items()
        if isinstance(item, dict)
    )


def _rounded(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value
