"""``stoker promote``, ``stoker rollback``, ``stoker alias``: which revision answers under which name.

The rule that must not break: every one of them prints where the alias points afterwards.
"""

from __future__ import annotations

import re

import click

from stoker import routes
from stoker.cli.examples import examples
from stoker.cli.output import json_option, print_json, print_table, split_text
from stoker.cli.platform import Document, ask
from stoker.cli.reference import FUNCTION, Reference


@click.command(
    epilog=examples("stoker promote embed", "stoker promote embed@3 --alias prod", "stoker promote embed@staging")
)
@click.argument("function", type=FUNCTION)
@click.option("--alias", "alias_name", default="prod", show_default=True, help="The alias to move.")
@json_option
def promote(function: Reference, alias_name: str, as_json: bool) -> None:
    """Point an alias of FUNCTION at a revision: the newest, name@3, or where another alias points (name@staging)."""
    at = function.at
    revision = int(at) if at is not None and at.isdigit() else None
    from_alias = at if revision is None else None
    answer = ask(
        routes.promote(function.name, function.namespace, alias_name, revision=revision, from_alias=from_alias)
    )
    _print_alias(function, answer, alias_name, as_json)


@click.command(epilog=examples("stoker rollback embed", "stoker rollback embed --to 3"))
@click.argument("function", type=FUNCTION)
@click.option("--to", "revision", type=click.IntRange(min=1), help="The revision; the one before, if not given.")
@click.option("--alias", "alias_name", help="The alias to move; the platform's choice, if not given.")
@json_option
def rollback(function: Reference, revision: int | None, alias_name: str | None, as_json: bool) -> None:
    """Send FUNCTION's calls back to an earlier revision."""
    answer = ask(routes.rollback(function.name, function.namespace, revision or function.revision, alias_name))
    _print_alias(function, answer, alias_name or "latest", as_json)


@click.group()
def alias() -> None:
    """Set, list and delete aliases; split traffic over revisions."""


@alias.command("set", epilog=examples("stoker alias set embed prod=3", "stoker alias set embed prod=2:90,3:10"))
@click.argument("function", type=FUNCTION)
@click.argument("assignment", metavar="NAME=REVISION[:WEIGHT,…]")
@json_option
def set_alias(function: Reference, assignment: str, as_json: bool) -> None:
    """Point an alias of FUNCTION at one revision, or split its calls over several by weight."""
    name, target = read_assignment(assignment)
    answer = ask(routes.set_alias(function.name, function.namespace, name, target))
    _print_alias(function, answer, name, as_json)


@alias.command("list", epilog=examples("stoker alias list embed"))
@click.argument("function", type=FUNCTION)
@json_option
def list_aliases(function: Reference, as_json: bool) -> None:
    """List the aliases of FUNCTION and where they point."""
    aliases = ask(routes.function(function.name, function.namespace)).get("aliases") or {}
    if as_json:
        print_json({"aliases": aliases})
        return
    print_table(("alias", "revision"), [(name, split_text(weights)) for name, weights in aliases.items()])


@alias.command("delete", epilog=examples("stoker alias delete embed canary"))
@click.argument("function", type=FUNCTION)
@click.argument("name")
@json_option
def delete_alias(function: Reference, name: str, as_json: bool) -> None:
    """Delete the alias NAME of FUNCTION; no revision is touched."""
    answer = ask(routes.delete_alias(function.name, function.namespace, name))
    if as_json:
        print_json(answer)
    else:
        click.echo(f"Deleted alias {name} of {function}.", err=True)


def read_assignment(text: str) -> tuple[str, int | dict[int, int]]:
    """``prod=3`` or ``prod=2:90,3:10`` as an alias's name and target; raises a usage error."""
    name, _, value = text.partition("=")
    if not name or not re.fullmatch(r"\d+|\d+:\d+(,\d+:\d+)*", value):
        raise click.UsageError(f"write NAME=REVISION or NAME=REVISION:WEIGHT,REVISION:WEIGHT, got {text!r}")
    if ":" not in value:
        return name, int(value)
    parts = [part.partition(":") for part in value.split(",")]
    weights = {int(revision): int(weight) for revision, _, weight in parts}
    if len(weights) < len(parts):
        raise click.UsageError(f"each revision may be named once, got {text!r}")
    return name, weights


def _print_alias(function: Reference, answer: Document, name: str, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    shown = answer.get("alias") or answer.get("name") or name
    target = answer.get("weights") or answer.get("revision") or "?"
    click.echo(f"{function}@{shown} → {split_text(target)}")
