"""``stoker history FUNCTION``: its revisions; ``stoker history export``: what traffic the platform has recorded.

The rule that must not break: what is exported holds times and sizes, no payload; a file is whole or not there.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from stoker import routes
from stoker.cli.durations import DURATION
from stoker.cli.examples import examples
from stoker.cli.functions import pointing_at
from stoker.cli.output import json_option, note, print_json, print_table, size
from stoker.cli.platform import ask, platform
from stoker.cli.reference import FUNCTION, Reference
from stoker.errors import InvalidInput

EXPORT = "export"
_ANY = "FUNCTION"


class _History(click.Group):
    """Whatever is no subcommand is the name of a function."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [_ANY, EXPORT]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return export if cmd_name == EXPORT else _revisions_of(cmd_name)


@click.group(
    cls=_History,
    epilog=examples("stoker history embed", "stoker history export --since 7d -o trace.csv"),
)
def history() -> None:
    """List the revisions of FUNCTION, or export recorded traffic.

    A function that is called export is `stoker history default/export`.
    """


@click.command(EXPORT, epilog=examples("stoker history export -o trace.csv", "stoker history export --since 24h"))
@click.option("--since", type=DURATION, help="Only the last so long: 90s, 12h, 7d.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
def export(since: float | None, output: Path | None) -> None:
    """Write when functions were called, as a trace for `stoker simulate`: function,t,n,d.

    Calls of one function within ten seconds are one row.
    """
    with platform() as client:
        text = str(client.request(routes.history(last_s=since)))
    if output is None:
        click.echo(text, nl=False)
        return
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, output)
    except OSError as error:
        raise InvalidInput(
            f"{output} cannot be written: {error}", hint="Name a file in a folder that exists."
        ) from error
    rows = sum(not line.startswith("#") for line in text.splitlines()) - 1
    note(f"Wrote {max(rows, 0)} rows to {output}. Next: stoker simulate --trace {output}")


def _revisions_of(text: str) -> click.Command:
    @click.command(_ANY, help=f"List the revisions of {text}, newest first, and the aliases that point at them.")
    @json_option
    @click.pass_context
    def revisions(ctx: click.Context, as_json: bool) -> None:
        _print_revisions(FUNCTION.convert(text, None, ctx), as_json=as_json)

    return revisions


def _print_revisions(function: Reference, *, as_json: bool) -> None:
    answer = ask(routes.function(function.name, function.namespace))
    found = sorted(answer["revisions"], key=lambda item: item["revision"], reverse=True)
    if as_json:
        print_json({"revisions": found, "aliases": answer.get("aliases", {})})
        return
    rows = [
        (
            item["revision"],
            item.get("created_at"),
            ",".join(pointing_at(answer, item["revision"])),
            item.get("handler"),
            size((item.get("manifest") or {}).get("size_bytes")),
            str(item.get("bundle_sha256") or "")[:12],
        )
        for item in found
    ]
    print_table(("revision", "created", "aliases", "handler", "size", "bundle"), rows)
