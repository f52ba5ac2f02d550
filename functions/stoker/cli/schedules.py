"""``stoker schedules``: when functions run without a caller.

The rule that must not break: what ``create`` prints (the next ticks) is what the platform will do, in the schedule's
own zone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, TypeVar, get_args

import click

from stoker import schedule_routes
from stoker.cli.call_body import JSON_TYPE, body_of
from stoker.cli.durations import DURATION
from stoker.cli.examples import examples
from stoker.cli.output import json_option, note, print_fields, print_json, print_table
from stoker.cli.platform import Document, ask
from stoker.cli.reference import FUNCTION, Reference
from stoker.schedule import Misfire, Overlap

_Command = TypeVar("_Command", bound=Callable[..., object])
_HIDDEN: Final = ("runs", "next", "arguments", "batch", "webhooks")
_NAMESPACE: Final = click.option("-n", "--namespace", default="default", show_default=True, help="Of the schedule.")


@click.group()
def schedules() -> None:
    """Run functions by the clock: cron lines and periods, with their history."""


@schedules.command("list", epilog=examples("stoker schedules list"))
@_NAMESPACE
@json_option
def list_schedules(namespace: str, as_json: bool) -> None:
    """List schedules with their next ticks."""
    answer = ask(schedule_routes.schedules(namespace))
    if as_json:
        print_json(answer)
        return
    rows = [
        (item["name"], item["function"], _timing(item), "paused" if item["paused"] else (item["next"] or [None])[0])
        for item in answer["schedules"]
    ]
    print_table(("name", "function", "schedule", "next"), rows, empty="no schedules")


@schedules.command(
    epilog=examples(
        'stoker schedules create nightly embed --cron "0 2 * * *" --timezone Asia/Kolkata text=hello',
        "stoker schedules create hourly refresh --every 1h --overlap queue",
        'stoker schedules create nightly embed --cron "0 2 * * *" --input "in/{{ scheduled_time:%Y-%m-%d }}.jsonl"',
    )
)
@click.argument("name")
@click.argument("function", type=FUNCTION)
@click.argument("arguments", nargs=-1)
@click.option("--cron", help="Five fields, six with seconds first, or @daily and its like.")
@click.option("--timezone", help="Zone of the cron line, such as Asia/Kolkata. Default: UTC.")
@click.option("--every", type=DURATION, help="In place of --cron: 90s, 15m, 1h, 7d.")
@click.option("-d", "--data", help="The call's JSON body, in place of name=value; @file reads one.")
@click.option(
    "--input", "input_", multiple=True, help="Start a batch run over this instead of a call; can be repeated."
)
@click.option("--output", help="Where the batch run writes.")
@click.option("--finish-within", type=DURATION, help="Deadline of the batch run, counted from the tick.")
@click.option("--start", help="ISO 8601 time of the first possible tick.")
@click.option("--end", help="ISO 8601 time of the last possible tick.")
@click.option("--jitter", type=DURATION, help="Put each tick off by up to this.")
@click.option("--overlap", type=click.Choice(get_args(Overlap)), help="At a tick while a run is not done.")
@click.option(
    "--misfire", type=click.Choice(get_args(Misfire)), help="For ticks that passed while the platform was down."
)
@click.option("--misfire-grace", type=DURATION, help="How late a tick may begin before it counts as missed.")
@click.option("--late-after", type=DURATION, help="How late a run may begin before webhooks are told.")
@click.option(
    "--webhook", "webhooks", multiple=True, help="Tell this one when a run fails or is late; can be repeated."
)
@click.option("--paused", is_flag=True, help="Make it, and let it wait for `resume`.")
@json_option
def create(
    name: str, function: Reference, arguments: tuple[str, ...], as_json: bool, data: str | None, **given: Any
) -> None:
    """Make the schedule NAME that runs FUNCTION, with arguments as `stoker call` takes them."""
    spec: Document = {"name": name, "function": function.name, "ref": function.at, "method": function.method}
    spec |= {key: given[key] for key in ("cron", "timezone", "start", "end", "overlap", "misfire")}
    spec |= {
        "every_s": given["every"],
        "jitter_s": given["jitter"],
        "misfire_grace_s": given["misfire_grace"],
        "late_after_s": given["late_after"],
    }
    if given["input_"]:
        batch = {"output": given["output"], "finish_within_s": given["finish_within"]}
        spec["batch"] = {
            "input": list(given["input_"]),
            **{key: value for key, value in batch.items() if value is not None},
        }
    spec["arguments"] = _arguments(arguments, data)
    spec["webhooks"] = list(given["webhooks"]) or None
    spec["paused"] = given["paused"] or None
    wanted = {key: value for key, value in spec.items() if value is not None}
    _show(ask(schedule_routes.create_schedule(function.namespace, wanted)), as_json)


@schedules.command(epilog=examples("stoker schedules show nightly"))
@click.argument("name")
@_NAMESPACE
@json_option
def show(name: str, namespace: str, as_json: bool) -> None:
    """Show all about schedule NAME: its policies, next ticks and last runs."""
    answer = ask(schedule_routes.schedule(name, namespace))
    _show(answer, as_json)
    if not as_json and answer["runs"]:
        note("last runs:")
        _print_runs(answer["runs"])


@schedules.command(epilog=examples("stoker schedules pause nightly"))
@click.argument("name")
@_NAMESPACE
@json_option
def pause(name: str, namespace: str, as_json: bool) -> None:
    """Let no tick of schedule NAME count until `resume`; what runs goes on."""
    _done(ask(schedule_routes.schedule_action(name, namespace, "pause")), as_json, f"{name} is paused.")


@schedules.command(epilog=examples("stoker schedules resume nightly"))
@click.argument("name")
@_NAMESPACE
@json_option
def resume(name: str, namespace: str, as_json: bool) -> None:
    """Let ticks of schedule NAME count again, from now on."""
    answer = ask(schedule_routes.schedule_action(name, namespace, "resume"))
    _done(answer, as_json, f"{name} runs next at {(answer['next'] or ['no time'])[0]}.")


@schedules.command(epilog=examples("stoker schedules run nightly"))
@click.argument("name")
@_NAMESPACE
@json_option
def run(name: str, namespace: str, as_json: bool) -> None:
    """Run schedule NAME now, beside its ticks."""
    answer = ask(schedule_routes.schedule_action(name, namespace, "run"))
    if as_json:
        print_json(answer)
        return
    click.echo(answer["job"] or answer["batch"])


@schedules.command(epilog=examples("stoker schedules backfill nightly --from 2026-03-01 --to 2026-03-08 --dry-run"))
@click.argument("name")
@click.option("--from", "from_", required=True, help="ISO 8601 time; without an offset in the schedule's zone.")
@click.option("--to", required=True, help="The same; in the past.")
@click.option("--dry-run", is_flag=True, help="Only count the ticks.")
@_NAMESPACE
@json_option
def backfill(name: str, from_: str, to: str, dry_run: bool, namespace: str, as_json: bool) -> None:
    """Run every past tick of schedule NAME in a range that has no run, oldest first."""
    body: dict[str, object] = {"from": from_, "to": to, "dry_run": dry_run}
    answer = ask(schedule_routes.schedule_action(name, namespace, "backfill", body))
    span = f"{answer['ticks']} ticks from {answer['first']} to {answer['last']}"
    _done(answer, as_json, f"{span}." if dry_run else f"{span}: {answer['runs']} new runs.")


@schedules.command(epilog=examples("stoker schedules delete nightly"))
@click.argument("name")
@_NAMESPACE
@json_option
def delete(name: str, namespace: str, as_json: bool) -> None:
    """Delete schedule NAME with its history; what it started goes on."""
    _done(ask(schedule_routes.delete_schedule(name, namespace)), as_json, f"{name} is deleted.")


@schedules.command(epilog=examples("stoker schedules history nightly --limit 20"))
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at most.")
@_NAMESPACE
@json_option
def history(name: str, limit: int, namespace: str, as_json: bool) -> None:
    """List the runs of schedule NAME, newest first, with durations and outcomes."""
    answer = ask(schedule_routes.schedule_runs(name, namespace, limit))
    if as_json:
        print_json(answer)
    else:
        _print_runs(answer["runs"])


def _arguments(arguments: tuple[str, ...], data: str | None) -> object:
    if not arguments and data is None:
        return None
    body = body_of(arguments, data)
    if body.content is None or body.headers.get("Content-Type") != JSON_TYPE:
        raise click.UsageError("a schedule's arguments are name=value or --data with JSON")
    return json.loads(body.content)


def _timing(item: Document) -> str:
    if item.get("cron"):
        return f"{item['cron']} {item['timezone']}"
    return f"every {item['every_s']:g} s"


def _show(answer: Document, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    fields = {key: value for key, value in answer.items() if key not in _HIDDEN and value is not None}
    for key in ("arguments", "batch", "webhooks"):
        if answer.get(key):
            fields[key] = answer[key]
    for number, tick in enumerate(answer["next"]):
        fields["next" if number == 0 else " " * (4 + number)] = tick
    print_fields({key.replace("_", " "): value for key, value in fields.items()})


def _print_runs(runs: list[Document]) -> None:
    rows = [
        (
            item["scheduled_time"],
            item["kind"] if item["ticks"] == 1 else f"{item['kind']} x{item['ticks']}",
            item["state"],
            None if item["took_s"] is None else f"{item['took_s']:.3g} s",
            item["job"] or item["batch"],
            item["reason"],
        )
        for item in runs
    ]
    print_table(("scheduled", "kind", "state", "took", "work", "reason"), rows, empty="no runs yet")


def _done(answer: Document, as_json: bool, text: str) -> None:
    if as_json:
        print_json(answer)
    else:
        note(text)
