"""``stoker secret``: values that functions get as environment variables.

The rule that must not break: a value is read from a prompt or standard input, never from the command line, where
other users of the machine and the shell's history would see it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from stoker import routes
from stoker.cli.examples import examples
from stoker.cli.output import json_option, note, print_json, print_table
from stoker.cli.platform import ask


@click.group()
def secret() -> None:
    """Set, list and delete secrets; a function gets those that it names in secrets=[…]."""


@secret.command(
    "set",
    epilog=examples(
        "stoker secret set HF_TOKEN",
        "pass show hf | stoker secret set HF_TOKEN",
        "stoker secret set CERTIFICATE --from-file cert.pem",
    ),
)
@click.argument("name")
@click.option("--from-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Read the value there.")
@click.option("-n", "--namespace", default="default", show_default=True, help="Whose functions may have it.")
@json_option
def set_secret(name: str, from_file: Path | None, namespace: str, as_json: bool) -> None:
    """Store the secret NAME; its value is asked for, or read from standard input."""
    answer = ask(routes.set_secret(name, namespace, _read_value(name, from_file)))
    if as_json:
        print_json(answer)
    else:
        note(f"Stored {name} in {namespace}. Functions that name it get it when their next replica starts.")


@secret.command("list", epilog=examples("stoker secret list", "stoker secret list -n team-a"))
@click.option("-n", "--namespace", default="default", show_default=True, help="The namespace.")
@json_option
def list_secrets(namespace: str, as_json: bool) -> None:
    """List the names of secrets; values are never shown."""
    answer = ask(routes.secrets(namespace))
    if as_json:
        print_json(answer)
        return
    found = answer.get("secrets") or answer.get("value") or []
    rows = [(item.get("name"), item.get("updated_at")) if isinstance(item, dict) else (item, "") for item in found]
    print_table(("name", "updated"), rows, empty=f"No secrets in {namespace}.")


@secret.command("delete", epilog=examples("stoker secret delete HF_TOKEN --yes"))
@click.argument("name")
@click.option("-n", "--namespace", default="default", show_default=True, help="The namespace.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def delete_secret(name: str, namespace: str, yes: bool, as_json: bool) -> None:
    """Forget the secret NAME."""
    if not yes:
        click.confirm(f"Delete secret {name} of {namespace}?", abort=True, err=True)
    answer = ask(routes.delete_secret(name, namespace))
    if as_json:
        print_json(answer)
    else:
        note(f"Deleted {name}.")


def _read_value(name: str, from_file: Path | None) -> str:
    if from_file is not None:
        return from_file.read_text()
    if sys.stdin.isatty():
        return str(click.prompt(f"Value of {name}", hide_input=True, err=True))
    value = sys.stdin.read()
    value = value[:-1] if value.endswith("\n") and value.count("\n") == 1 else value
    if not value:
        raise click.UsageError(f"standard input is empty; pipe the value of {name} in, or run it on a terminal")
    return value
