"""``stoker deploy``: register the functions of a file or module.

The rule that must not break: what is refused is refused with every reason and its fix, and names the function.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stoker.cli.examples import examples
from stoker.cli.output import json_option, note, print_json, print_table, progress, styled
from stoker.cli.platform import platform
from stoker.cli.target import Target, load_functions
from stoker.cli.user_code import user_code
from stoker.function import Function

if TYPE_CHECKING:
    from stoker.deployment import Deployed


@click.command(
    epilog=examples(
        "stoker deploy app.py", "stoker deploy app.py::Embed", "stoker deploy package.module::embed -n team-a"
    )
)
@click.argument("target", metavar="TARGET")
@click.option("-n", "--namespace", help="Instead of the namespace that the function says.")
@click.option("--name", help="Instead of the name that the function says (one function only).")
@click.option("--no-dry-run", is_flag=True, help="Do not load it in a worker before it is registered.")
@json_option
def deploy(target: str, namespace: str | None, name: str | None, no_dry_run: bool, as_json: bool) -> None:
    """Register every function of TARGET, or the one it names; unchanged ones keep their revision.

    TARGET is app.py, app.py::Embed (variable or function name) or package.module::name.
    """
    from stoker.deployment import deploy as register

    where = Target.parse(target)
    with user_code(Path(where.place)):
        functions = load_functions(where)
    if name is not None and len(functions) > 1:
        raise click.UsageError(f"--name fits one function, and {target} has {len(functions)}; name one: {target}::NAME")
    done: list[Deployed] = []
    try:
        with platform() as client:
            for function in [renamed(item, name, namespace) for item in functions]:
                with progress(f"deploying {function.options.name}"):
                    deployed = register(function, client=client, dry_run=not no_dry_run)
                done.append(deployed)
                for warning in deployed.warnings:
                    note(f"{styled('warning:', 'yellow', err=True)} {deployed.name}: {warning}")
    finally:  # those before a refused one are deployed
        _print_deployed(done, as_json)


def _print_deployed(done: list[Deployed], as_json: bool) -> None:
    if as_json:
        print_json({"functions": [dataclasses.asdict(item) for item in done]})
        return
    rows = [(item.name, item.revision, "created" if item.created else "unchanged", item.url) for item in done]
    print_table(("name", "revision", "result", "url"), rows)


def renamed(function: Function, name: str | None, namespace: str | None) -> Function:
    """The function under another name or namespace."""
    if name is None and namespace is None:
        return function
    options = function.options
    return Function(
        function.target,
        dataclasses.replace(options, name=name or options.name, namespace=namespace or options.namespace),
    )
