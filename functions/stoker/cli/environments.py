"""``stoker env``: Python environments, built before the first function needs them.

The rule that must not break: what a resolver says is shown as it said it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from stoker import routes
from stoker.cli.examples import examples
from stoker.cli.output import json_option, print_fields, print_json, print_table, progress, size
from stoker.cli.platform import Document, ask
from stoker.cli.target import Target, load_functions
from stoker.cli.user_code import user_code


@click.group()
def env() -> None:
    """Build environments ahead, list what is built."""


@env.command(
    epilog=examples(
        "stoker env build --package numpy --package 'onnxruntime>=1.18' --preload numpy",
        "stoker env build -r requirements.txt",
        "stoker env build app.py::Embed",
    )
)
@click.argument("target", required=False)
@click.option("--package", "packages", multiple=True, help="A requirement; can be repeated.")
@click.option(
    "-r",
    "--requirements",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of requirements, one a line.",
)
@click.option("--preload", multiple=True, help="A module to import once, before any worker; can be repeated.")
@json_option
def build(
    target: str | None, packages: tuple[str, ...], requirements: Path | None, preload: tuple[str, ...], as_json: bool
) -> None:
    """Build an environment, or those of the functions of TARGET (app.py, app.py::Embed)."""
    named = [*packages, *(_requirements(requirements) if requirements else [])]
    if target is None and not named and not preload:
        raise click.UsageError("name a TARGET, or give --package, --requirements or --preload")
    if target is not None and (named or preload):
        raise click.UsageError("give a TARGET or packages, not both")
    specs = [{"python_packages": named, "preload": list(preload)}] if target is None else _specs_of(target)
    answers = []
    for spec in specs:
        with progress("building the environment"):
            answers.append(ask(routes.build_environment(spec)))
    if as_json:
        print_json({"environments": answers})
        return
    for answer in answers:
        print_fields(
            {"digest": answer.get("digest"), "state": answer.get("state"), "size": size(answer.get("size_bytes"))}
        )


@env.command("list", epilog=examples("stoker env list"))
@json_option
def list_environments(as_json: bool) -> None:
    """List the environments that are built."""
    answer = ask(routes.environments())
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            str(item.get("digest", ""))[:12],
            item.get("state"),
            size(item.get("size_bytes")),
            " ".join(item.get("functions") or []),
        )
        for item in answer.get("environments") or answer.get("value") or []
    ]
    print_table(("digest", "state", "size", "functions"), rows, empty="No environments are built.")


def _specs_of(target: str) -> list[Document]:
    where = Target.parse(target)
    with user_code(where.place):
        functions = load_functions(where)
    specs: list[Document] = []
    for function in functions:
        spec: Document = dataclasses.asdict(function.options.environment)
        spec["env"] = dict(spec["env"])
        spec.pop("files")
        if spec not in specs:
            specs.append(spec)
    return specs


def _requirements(path: Path) -> list[str]:
    lines = (line.split(" #")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]
