"""``stoker token``: who may do what.

The rule that must not break: a token's text is shown once, at its creation, and on standard output alone.
"""

from __future__ import annotations

import click

from stoker import routes
from stoker.cli.durations import DURATION
from stoker.cli.examples import examples
from stoker.cli.output import json_option, note, print_json, print_table
from stoker.cli.platform import ask


@click.group()
def token() -> None:
    """Create, list and revoke access tokens (needs an admin token)."""


@token.command(
    epilog=examples(
        "stoker token create ci --scope deploy",
        "stoker token create website --scope invoke --namespace team-a --expires-in 90d",
        "export STOKER_TOKEN=$(stoker token create laptop --scope invoke --scope deploy)",
    )
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["invoke", "deploy", "admin"]),
    default=("invoke",),
    show_default=True,
    help="What it may do; can be repeated.",
)
@click.option(
    "-n", "--namespace", "namespaces", multiple=True, help="Only there; can be repeated. Default: everywhere."
)
@click.option("--expires-in", type=DURATION, help="For how long it works: 3600, 12h, 90d. Default: until revoked.")
@json_option
def create(
    name: str, scopes: tuple[str, ...], namespaces: tuple[str, ...], expires_in: float | None, as_json: bool
) -> None:
    """Create a token called NAME and print it, this once."""
    answer = ask(routes.create_token(name, list(scopes), list(namespaces) or None, expires_in))
    if as_json:
        print_json(answer)
        return
    click.echo(answer["token"])
    note(f"Keep it: it is not shown again. Id {answer.get('id')}, scopes {', '.join(scopes)}.")


@token.command("list", epilog=examples("stoker token list"))
@json_option
def list_tokens(as_json: bool) -> None:
    """List tokens, without their text."""
    answer = ask(routes.tokens())
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            item.get("id"),
            item.get("name"),
            ",".join(item.get("scopes") or []),
            ",".join(item.get("namespaces") or []) or "*",
            item.get("created_at"),
            item.get("expires_at"),
        )
        for item in answer.get("tokens") or answer.get("value") or []
    ]
    print_table(("id", "name", "scopes", "namespaces", "created", "expires"), rows)


@token.command(epilog=examples("stoker token revoke 3f9a"))
@click.argument("token_id", metavar="ID")
@json_option
def revoke(token_id: str, as_json: bool) -> None:
    """Make the token ID useless at once."""
    answer = ask(routes.revoke_token(token_id))
    if as_json:
        print_json(answer)
    else:
        note(f"Revoked {token_id}.")
