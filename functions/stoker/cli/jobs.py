"""``stoker jobs``: durable calls, looked at and steered.

The rule that must not break: Ctrl-C ends the watching, never the job; ``result`` prints the answer alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from stoker import routes
from stoker.cli.answers import print_answer
from stoker.cli.call_body import body_of
from stoker.cli.examples import examples
from stoker.cli.output import json_option, note, print_fields, print_json, print_table, progress, styled
from stoker.cli.platform import Document, ask, platform
from stoker.cli.problem import Refusal
from stoker.cli.reference import FUNCTION, Reference

COLUMNS = ("id", "function", "state", "attempts", "progress", "created", "ended")
STATES = ("queued", "starting", "running", "succeeded", "failed", "canceled", "timed_out", "expired", "dead")
_LONGEST_POLL_S = 50.0
_ACCEPTED = 202


@click.group()
def jobs() -> None:
    """Durable calls: submitted by `stoker call --async`, `.spawn()` or `Prefer: respond-async`."""


@jobs.command(
    "list", epilog=examples("stoker jobs list", "stoker jobs list --state dead", "stoker jobs list embed --limit 20")
)
@click.argument("function", type=FUNCTION, required=False)
@click.option("--state", multiple=True, type=click.Choice(STATES), help="Only these; dead: failed, timed_out, expired.")
@click.option("-n", "--namespace", help="Only this namespace.")
@click.option("--since", help="Submitted after this time (ISO 8601 with its zone).")
@click.option("--source", help="Only what this schedule or batch made.")
@click.option("--limit", type=click.IntRange(min=1, max=1000), default=50, show_default=True)
@click.option("--cursor", help="Where the page before ended.")
@json_option
def list_jobs(
    function: Reference | None,
    state: tuple[str, ...],
    namespace: str | None,
    since: str | None,
    source: str | None,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """List jobs, newest first; of FUNCTION alone, if it is named."""
    found = ask(
        routes.jobs(
            function=function.name if function else None,
            namespace=namespace or (function.namespace if function else None),
            state=",".join(state) or None,
            since=since,
            source=source,
            limit=limit,
            cursor=cursor,
        )
    )
    if as_json:
        print_json(found)
        return
    print_table(COLUMNS, [_row(job) for job in found["jobs"]], empty="no jobs")
    if found["next_cursor"]:
        note(f"more: --cursor {found['next_cursor']}")


@jobs.command(epilog=examples("stoker jobs show job_01jd…"))
@click.argument("job_id", metavar="JOB")
@json_option
def show(job_id: str, as_json: bool) -> None:
    """Show all about JOB."""
    found = ask(routes.job(job_id))
    if as_json:
        print_json(found)
        return
    fields = {key: value for key, value in found.items() if key not in _NESTED and value not in (None, [])}
    if found["progress"]:
        fields["progress"] = _progress(found)
    print_fields(fields)
    problem = found["problem"]
    if problem:
        print_fields({"problem": problem.get("detail"), "hint": problem.get("hint")})


@jobs.command(epilog=examples("stoker jobs result job_01jd… --wait-s 60", "stoker jobs result job_01jd… -o image.png"))
@click.argument("job_id", metavar="JOB")
@click.option("--wait-s", type=click.FloatRange(min=0), help="Wait so long for its end; without it, until it ends.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the answer to a file.")
@json_option
def result(job_id: str, wait_s: float | None, output: Path | None, as_json: bool) -> None:
    """Print what JOB answered, once it has."""
    from stoker.payload import decode_answer

    left_s = float("inf") if wait_s is None else wait_s
    with platform() as client, progress("waiting"):
        while True:
            poll_s = min(left_s, _LONGEST_POLL_S)
            answer = client.exchange(routes.job_result(job_id, poll_s), {}, read_s=poll_s + 15.0)
            is_pending = answer.status_code == _ACCEPTED and answer.headers.get("preference-applied")
            left_s -= poll_s
            if not is_pending or left_s <= 0:
                break
    if is_pending:
        state = answer.json()["state"]
        raise Refusal(
            {"status": 503, "code": "not_ready", "detail": f"job {job_id} is {state}", "hint": "Ask again later."}
        )
    print_answer(decode_answer(answer.content, answer.headers.get("content-type", "")), as_json=as_json, output=output)


@jobs.command(epilog=examples("stoker jobs events job_01jd…", "stoker jobs events job_01jd… --no-follow --json"))
@click.argument("job_id", metavar="JOB")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Only what came behind this event.")
@click.option("--no-follow", is_flag=True, help="Only what there is now.")
@json_option
def events(job_id: str, after: int, no_follow: bool, as_json: bool) -> None:
    """Print what happens to JOB: states, progress, printed lines."""
    from stoker.job import Job

    with platform() as client:
        for event in Job(client, job_id).events(after, follow=not no_follow):
            click.echo(json.dumps(event) if as_json else event_line(event))


@jobs.command(epilog=examples("stoker jobs cancel job_01jd…"))
@click.argument("job_ids", metavar="JOB…", nargs=-1, required=True)
@json_option
def cancel(job_ids: tuple[str, ...], as_json: bool) -> None:
    """End jobs, whether they wait or run."""
    for job_id in job_ids:
        _say(ask(routes.cancel_job(job_id)), as_json=as_json)


@jobs.command(
    context_settings={"ignore_unknown_options": True},
    epilog=examples("stoker jobs retry job_01jd…", "stoker jobs retry job_01jd… x=21"),
)
@click.argument("job_id", metavar="JOB")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENTS]…")
@click.option("-d", "--data", help="Another body: JSON, @file, or - for standard input.")
@json_option
def retry(job_id: str, args: tuple[str, ...], data: str | None, as_json: bool) -> None:
    """Run JOB again after its end; with ARGUMENTS, those take the place of the old ones."""
    document = _edit(args, data) if args or data is not None else None
    _say(ask(routes.retry_job(job_id, document)), as_json=as_json)


@jobs.command(epilog=examples("stoker jobs purge --before 2026-01-01T00:00:00Z", "stoker jobs purge --state succeeded"))
@click.option("--before", help="Ended before this time; now, if left out.")
@click.option("--state", multiple=True, type=click.Choice(STATES[3:]), help="Only jobs that ended like this.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def purge(before: str | None, state: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Forget jobs that have ended, and their results."""
    if not yes:
        click.confirm("Forget them and their results?", abort=True, err=True)
    found = ask(routes.purge_jobs(before, ",".join(state) or None))
    if as_json:
        print_json(found)
    else:
        click.echo(f"{found['purged']} jobs forgotten")


def event_line(event: Document) -> str:
    """One event for a person."""
    when = styled(str(event.get("at", ""))[11:23], "dim")
    if event["kind"] == "progress":
        return f"{when}  {float(event['fraction']):>4.0%}  {event.get('message', '')}".rstrip()
    if event["kind"] == "log":
        return f"{when}  {event.get('line', '')}"
    problem = event.get("problem") or event.get("reason")
    detail = f": {problem['detail']}" if isinstance(problem, dict) and problem.get("detail") else ""
    return f"{when}  {styled(str(event.get('state')), 'bold')}{detail}"


_NESTED = ("progress", "result", "problem", "receipt", "links")


def _row(job: Document) -> tuple[object, ...]:
    name = job["function"] if job["namespace"] == "default" else f"{job['namespace']}/{job['function']}"
    return (
        job["id"],
        name,
        job["state"],
        job["attempts"],
        _progress(job),
        _short(job["created_at"]),
        _short(job["finished_at"]),
    )


def _progress(job: Document) -> str | None:
    found = job["progress"]
    return f"{found['fraction']:.0%} {found['message']}".rstrip() if found else None


def _short(time: str | None) -> str | None:
    return time[:19].replace("T", " ") if time else None


def _edit(args: tuple[str, ...], data: str | None) -> dict[str, Any]:
    body = body_of(args, data)
    content = body.content
    if body.files or body.fields or not isinstance(content, bytes):
        raise click.UsageError("a job's input is JSON here; files cannot take its place")
    try:
        return {"input": json.loads(content)}
    except ValueError as error:
        raise click.UsageError(f"a job's input is JSON here: {error}") from error


def _say(job: Document, *, as_json: bool) -> None:
    if as_json:
        print_json(job)
    else:
        click.echo(f"{job['id']}\t{job['state']}")
