"""``stoker list`` and ``stoker delete``.

The rule that must not break: nothing is deleted without a yes.
"""

from __future__ import annotations

import click

from stoker import routes
from stoker.cli.examples import examples
from stoker.cli.output import json_option, note, print_json, print_table, split_text
from stoker.cli.platform import Document, ask
from stoker.cli.reference import FUNCTION, Reference


@click.command("list", epilog=examples("stoker list -n team-a | cut -f1"))
@click.option("-n", "--namespace", help="Only this namespace.")
@json_option
def list_functions(namespace: str | None, as_json: bool) -> None:
    """List functions with their newest revision, replicas and URL."""
    answer = ask(routes.functions(namespace))
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            item["name"] if item.get("namespace", "default") == "default" else f"{item['namespace']}/{item['name']}",
            item.get("revision"),
            item.get("state"),
            item.get("replicas"),
            aliases_text(item.get("aliases"), item.get("revision")),
            item.get("url"),
        )
        for item in answer["functions"]
    ]
    print_table(
        ("name", "revision", "state", "replicas", "aliases", "url"),
        rows,
        empty="No functions yet. Deploy one: stoker deploy app.py",
    )


@click.command(epilog=examples("stoker delete embed", "stoker delete embed@3 --yes"))
@click.argument("function", type=FUNCTION)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also while an alias points at it or calls are in flight.")
@json_option
def delete(function: Reference, yes: bool, force: bool, as_json: bool) -> None:
    """Delete FUNCTION with all its revisions, or one revision (name@3)."""
    revision = function.revision
    what = f"revision {revision} of {function}" if revision else f"{function} with all its revisions"
    if not yes:
        click.confirm(f"Delete {what}?", abort=True, err=True)
    name, namespace = function.name, function.namespace
    if revision is None:
        answer = ask(routes.delete(name, namespace, force=force))
    else:
        answer = ask(routes.delete_revision(name, namespace, revision, force=force))
    if as_json:
        print_json(answer)
    else:
        note(f"Deleted {what}.")


def aliases_text(aliases: object, newest: object) -> str:
    """``prod=3 canary=2:90,3:10``; ``latest`` only where it was moved away from the newest revision."""
    if not isinstance(aliases, dict):
        return ""
    texts = {name: split_text(weights) for name, weights in aliases.items()}
    if texts.get("latest") == str(newest):
        del texts["latest"]
    return " ".join(f"{name}={text}" for name, text in texts.items())


def pointing_at(answer: Document, revision: int) -> list[str]:
    """Aliases that send calls to a revision."""
    aliases = answer.get("aliases") or {}
    return [
        name
        for name, weights in aliases.items()
        if str(revision) in (list(map(str, weights)) if isinstance(weights, dict) else [str(weights)])
    ]
