"""``stoker call``: one call of a deployed function, from a shell.

The rule that must not break: standard output is the answer, byte for byte; phases and receipts go to standard error.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from stoker.cli.answers import print_answer, print_item
from stoker.cli.call_body import CallBody, body_of, read_headers
from stoker.cli.call_exchange import Exchange, Streamed
from stoker.cli.examples import examples
from stoker.cli.output import is_terminal, json_option, note, progress
from stoker.cli.platform import Document, known_connection, starting_hint
from stoker.cli.problem import Refusal
from stoker.cli.reference import FUNCTION, Reference


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog=examples(
        "stoker call double x=21",
        "stoker call double --x 21 --receipt",
        "stoker call embed@prod text=@page.txt",
        "stoker call double -d '{\"x\": 21}'",
        "cat photo.jpg | stoker call classify -d - -H 'Content-Type: image/jpeg'",
        "stoker call chat prompt=hello --stream --raw",
        "stoker call report month=2026-01 --async",
    ),
)
@click.argument("function", type=FUNCTION)
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENTS]…")
@click.option("-d", "--data", help="The whole body: JSON, @file, or - for standard input.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header of the request.")
@click.option("--stream", is_flag=True, help="Print items as they come, and a cold start's phases.")
@click.option("--raw", is_flag=True, help="Join streamed text as it comes, without line ends.")
@click.option("--async", "is_async", is_flag=True, help="Submit it as a job and print the job's id.")
@click.option("--idempotency-key", help="With --async: the same key again is the same job.")
@click.option("--webhook", "webhooks", multiple=True, help="With --async: tell this one of the end; can be repeated.")
@click.option("--receipt", is_flag=True, help="Also say where the time went.")
@click.option("--timeout-s", type=click.FloatRange(min=0.001), help="The call's deadline, waiting included.")
@click.option("--priority", type=click.Choice(["interactive", "background", "batch"]), help="Who waits first.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the answer to a file.")
@click.option("-n", "--namespace", help="The function's namespace.")
@json_option
def call(
    function: Reference,
    args: tuple[str, ...],
    data: str | None,
    headers: tuple[str, ...],
    stream: bool,
    raw: bool,
    is_async: bool,
    idempotency_key: str | None,
    webhooks: tuple[str, ...],
    receipt: bool,
    timeout_s: float | None,
    priority: str | None,
    output: Path | None,
    namespace: str | None,
    as_json: bool,
) -> None:
    """Call FUNCTION (name, name@revision, name@alias, name.method) and print its answer.

    ARGUMENTS are name=value, --name value, or stand in their order. A value is JSON where it can be read as such, else
    text; @file sends a file.
    """
    body = body_of(args, data)
    own: dict[str, str] = {}
    if function.method:
        own["Stoker-Method"] = function.method
    if timeout_s is not None:
        own["Stoker-Timeout-Ms"] = str(max(1, round(timeout_s * 1000)))
    if priority is not None:
        own["Stoker-Priority"] = priority
    if receipt:
        own["Stoker-Receipt"] = "1"
    if is_async:
        own["Prefer"] = "respond-async"
    if idempotency_key is not None:
        own["Idempotency-Key"] = idempotency_key
    if is_async and (stream or receipt or output is not None):
        raise click.UsageError("--async prints a job's id: --stream, --receipt and --output have no place there")
    if webhooks:
        own["Stoker-Webhook"] = " ".join(webhooks)
    if webhooks and not is_async:
        raise click.UsageError("--webhook goes with --async")
    if idempotency_key is not None and not is_async:
        raise click.UsageError("--idempotency-key goes with --async")
    sent = CallBody(body.content, {**body.headers, **own, **read_headers(headers)}, body.files, body.fields)
    exchange = Exchange(known_connection(), function.call_path(namespace))
    with starting_hint(), quoting_hint():
        if is_async:
            _print_job(exchange, sent, as_json=as_json)
        elif stream:
            _print_stream(exchange.stream(sent), as_json=as_json, raw=raw, wants_receipt=receipt)
        else:
            _print_answer(exchange, sent, as_json=as_json, wants_receipt=receipt, output=output)


@contextlib.contextmanager
def quoting_hint() -> Iterator[None]:
    """Say how to send text that reads as JSON, where a function wanted text."""
    try:
        yield
    except Refusal as refusal:
        if refusal.document.get("code") == "invalid_arguments" and "valid string" in str(refusal.document):
            refusal.document["hint"] = """A value that reads as JSON is sent as such; quote text: name='"123"'."""
        raise


def _print_answer(
    exchange: Exchange, body: CallBody, *, as_json: bool, wants_receipt: bool, output: Path | None
) -> None:
    with progress("calling"):
        answer = exchange.send(body)
    value = answer.value()
    if not (wants_receipt and isinstance(value, dict) and "receipt" in value):
        print_answer(value, as_json=as_json, output=output)
        if wants_receipt and answer.server_timing:
            note(answer.server_timing)
        return
    if as_json:
        print_answer(value, as_json=True, output=output)
        return
    print_answer(value.get("result"), output=output)
    _print_receipt(value["receipt"])


def _print_job(exchange: Exchange, body: CallBody, *, as_json: bool) -> None:
    document = json.loads(exchange.send(body).content)
    click.echo(json.dumps(document) if as_json else document["id"])
    note(f"follow it: stoker jobs events {document['id']}")


def _print_stream(events: Streamed, *, as_json: bool, raw: bool, wants_receipt: bool) -> None:
    receipt: Document | None = None
    wrote = False
    for kind, value in events:
        if kind == "item":
            print_item(value, as_json=as_json, raw=raw)
            wrote = True
        elif kind == "phase" and is_terminal(err=True):
            note(f"starting: {value.get('phase') if isinstance(value, dict) else value}")
        elif kind == "end" and isinstance(value, dict):
            receipt = value.get("receipt")
            if not wrote and "result" in value:
                print_item(value["result"], as_json=as_json)
    if raw and wrote:
        click.echo()
    sys.stdout.flush()
    if wants_receipt and receipt:
        _print_receipt(receipt)


def _print_receipt(receipt: Document) -> None:
    phases = receipt.get("phases_ms") or {}
    known = {"cold", "batch_size", "revision", "replica"}
    warmth = "cold" if receipt.get("cold") else "warm"
    where = f"revision {receipt.get('revision')}, replica {receipt.get('replica')}"
    note(f"{warmth}, batch of {receipt.get('batch_size')}, {where}")
    for name, took_ms in phases.items():
        if isinstance(took_ms, (int, float)):
            note(f"  {name:<10} {took_ms:10.3f} ms")
        elif isinstance(took_ms, dict):
            note(f"  {name:<10} {json.dumps(took_ms)}")
    for name, value in receipt.items():
        if name not in known and name != "phases_ms":
            note(f"  {name}: {value}")
