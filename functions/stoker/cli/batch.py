"""``stoker batch``: a function mapped over a data set.

The rule that must not break: Ctrl-C and a lost terminal end the watching, never the run; standard output holds ids and
documents alone.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from stoker import routes
from stoker.cli.batch_report import batch_row, failure_lines, print_batch, print_estimate
from stoker.cli.durations import Duration
from stoker.cli.examples import examples
from stoker.cli.output import json_option, note, print_json, print_table
from stoker.cli.parameter_type import ParameterType
from stoker.cli.platform import Document, ask, platform
from stoker.cli.reference import FUNCTION, Reference

if TYPE_CHECKING:
    from stoker.batch_run import BatchRun

COLUMNS: Final = ("id", "function", "state", "done", "failed", "total", "created")


class Moment(ParameterType):
    """A time: ISO 8601, or so long from now."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As the platform takes it; a time without a zone is this machine's."""
        try:
            found = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
        except ValueError:
            seconds = Duration().convert(value, param, ctx)
            found = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        return (found if found.tzinfo else found.astimezone()).isoformat()


class Pair(ParameterType):
    """``COLUMN=PARAMETER``."""

    name = "column=parameter"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Split it; a wrong one is a usage error."""
        if isinstance(value, tuple):
            return value
        column, mark, name = str(value).partition("=")
        if not (column and mark and name):
            self.fail(f"{value!r} must be COLUMN=PARAMETER", param, ctx)
        return column, name


@click.group()
def batch() -> None:
    """Map functions over data sets, in the background."""


@batch.command(
    epilog=examples(
        "stoker batch run embed texts.jsonl --output vectors --key id",
        "stoker batch run embed reviews.csv.gz --map review=text --output vectors --format parquet",
        "stoker batch run embed notes/ --output vectors",
        "stoker batch run embed 's3://bucket/in/*.parquet' --output s3://bucket/out --deadline 6h --detach",
        "stoker batch run embed texts.jsonl --dry-run",
    )
)
@click.argument("function", type=FUNCTION)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT…")
@click.option("-o", "--output", help="A folder here, or a URL that the platform may write. Default: kept there.")
@click.option("--map", "pairs", type=Pair(), multiple=True, help="Give a column to a parameter; can be repeated.")
@click.option("--key", help="The column that names rows in the output. Default: the row's number.")
@click.option("--format", "output_format", type=click.Choice(["jsonl", "parquet"]), help="Of the output.")
@click.option("--input-format", type=click.Choice(["jsonl", "csv", "parquet", "text"]), help="Default: by the suffix.")
@click.option("--max-concurrency", type=click.IntRange(min=1), help="Most rows in the platform at once.")
@click.option("--deadline", type=Moment(), help="Finish by: 2027-01-31T06:00, or 6h from now.")
@click.option("--max-failed-fraction", type=click.FloatRange(0, 1), help="Stop when more rows fail. Default: 0.5.")
@click.option("--rows-per-part", type=click.IntRange(min=1), help="Rows in one file of the output. Default: 10000.")
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@click.option("--dry-run", is_flag=True, help="Check input, mapping and output; estimate duration and cost.")
@click.option("-d", "--detach", is_flag=True, help="Print the id and do not wait.")
@click.option("-n", "--namespace", help="The function's namespace.")
@json_option
def run(
    function: Reference,
    inputs: tuple[str, ...],
    output: str | None,
    pairs: tuple[tuple[str, str], ...],
    namespace: str | None,
    overwrite: bool,
    dry_run: bool,
    detach: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run FUNCTION on each row of INPUT: files, a folder of texts, a glob in quotes, or URLs.

    Paths are of this machine and are sent to the platform; URLs (s3://, https://, file://) the platform reads itself,
    where its operator allows it. Rows that fail go to an error file beside the output.
    """
    from stoker.batch_run import check_batch, start_batch
    from stoker.call_request import CallTarget

    target = CallTarget(
        name=function.name,
        namespace=namespace or function.namespace,
        version=function.at,
        method=function.method or "",
    )
    given: list[str] | str = list(inputs) if len(inputs) > 1 else inputs[0]
    options["mapping"] = dict(pairs)
    with platform() as client:
        sources = _places(given)
        if dry_run:
            found = check_batch(client, target, sources, output=output, overwrite=overwrite, **options)
            print_json(found) if as_json else print_estimate(found)
            return
        started = start_batch(client, target, sources, output=output, overwrite=overwrite, **options)
        if detach:
            print_json(started.status()) if as_json else click.echo(started.id)
            if output is not None and "://" not in output:
                note(f"`stoker batch fetch {started.id} {output}` brings its output here when it is done.")
            return
        _wait(started, output, as_json=as_json)


@batch.command(name="list", epilog=examples("stoker batch list", "stoker batch list embed --state running"))
@click.argument("function", type=FUNCTION, required=False)
@click.option("--state", help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="How many.")
@click.option("-n", "--namespace", help="Only there.")
@json_option
def list_batches(
    function: Reference | None, state: str | None, limit: int, namespace: str | None, as_json: bool
) -> None:
    """List batch runs, the newest first."""
    name = None if function is None else function.name
    place = namespace or (None if function is None else function.namespace)
    answer = ask(routes.batches(namespace=place, function=name, state=state, limit=limit))
    if as_json:
        print_json(answer)
    else:
        print_table(COLUMNS, [batch_row(item) for item in answer["batches"]], empty="No batch run yet.")


@batch.command(epilog=examples("stoker batch show batch_01k3x…", "stoker batch show batch_01k3x… --watch"))
@click.argument("batch_id", metavar="ID")
@click.option("-w", "--watch", is_flag=True, help="Follow it to its end.")
@json_option
def show(batch_id: str, watch: bool, as_json: bool) -> None:
    """Show where a batch run is, and its first failures."""
    from stoker.batch_bar import watched
    from stoker.batch_run import BatchRun

    with platform() as client:
        found = BatchRun(client, batch_id)
        document = found.status()
        if watch:
            for step in watched(found.watch(), None):
                document = step
    print_json(document) if as_json else print_batch(document)


@batch.command(epilog=examples("stoker batch pause batch_01k3x…"))
@click.argument("batch_id", metavar="ID")
@json_option
def pause(batch_id: str, as_json: bool) -> None:
    """Let what is in flight end, and take nothing more."""
    _told(ask(routes.act_on_batch(batch_id, "pause")), as_json)


@batch.command(epilog=examples("stoker batch resume batch_01k3x… --max-failed-fraction 0.8"))
@click.argument("batch_id", metavar="ID")
@click.option("--max-failed-fraction", type=click.FloatRange(0, 1), help="From now on.")
@click.option("--max-concurrency", type=click.IntRange(min=1), help="From now on.")
@click.option("--deadline", type=Moment(), help="From now on.")
@json_option
def resume(batch_id: str, as_json: bool, **changes: Any) -> None:
    """Go on behind what is done, also after a failure."""
    _told(ask(routes.act_on_batch(batch_id, "resume", **changes)), as_json)


@batch.command(epilog=examples("stoker batch cancel batch_01k3x…"))
@click.argument("batch_id", metavar="ID")
@json_option
def cancel(batch_id: str, as_json: bool) -> None:
    """Stop at once and for good."""
    _told(ask(routes.act_on_batch(batch_id, "cancel")), as_json)


@batch.command(epilog=examples("stoker batch fetch batch_01k3x… vectors"))
@click.argument("batch_id", metavar="ID")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@json_option
def fetch(batch_id: str, output: Path, overwrite: bool, as_json: bool) -> None:
    """Bring a kept output to the folder OUTPUT, whole or not at all."""
    from stoker.batch_run import BatchRun

    with platform() as client:
        manifest = BatchRun(client, batch_id).fetch(output, overwrite=overwrite)
    if as_json:
        print_json(manifest)
        return
    note(f"{manifest['succeeded']:,} results and {manifest['failed']:,} failures in {output}")


def _wait(started: BatchRun, output: str | None, *, as_json: bool) -> None:
    from stoker.batch_run import BatchStopped

    note(f"{started.id} runs on the platform; Ctrl-C leaves it running.")
    try:
        document = started.wait()
    except BatchStopped as stopped:
        for line in failure_lines(stopped.document):
            note(line)
        raise
    if as_json:
        print_json(document)
        return
    progress = document["progress"]
    where = output or f"kept by the platform: stoker batch fetch {started.id} FOLDER"
    note(f"{progress['done'] - progress['failed']:,} results, {progress['failed']:,} failures; {where}")
    click.echo(started.id)


def _places(given: list[str] | str) -> list[Path | str] | Path | str:
    """Paths as paths, so that none is taken for a row."""
    if isinstance(given, str):
        return given
    from stoker.batch_input import is_url

    return [text if is_url(text) else Path(text) for text in given]


def _told(document: Document, as_json: bool) -> None:
    print_json(document) if as_json else print_batch(document)
