"""``stoker webhooks``: who is told of jobs, batch runs and schedules.

The rule that must not break: a secret's text is shown once, when it is made, and on standard output alone.
"""

from __future__ import annotations

from typing import Final

import click

from stoker import schedule_routes
from stoker.cli.durations import DURATION
from stoker.cli.examples import examples
from stoker.cli.output import json_option, note, print_fields, print_json, print_table
from stoker.cli.platform import ask

_NAMESPACE: Final = click.option("-n", "--namespace", default="default", show_default=True, help="Of the webhook.")


@click.group()
def webhooks() -> None:
    """Tell other services of jobs, batch runs and schedules, signed."""


@webhooks.command("list", epilog=examples("stoker webhooks list"))
@_NAMESPACE
@json_option
def list_webhooks(namespace: str, as_json: bool) -> None:
    """List webhooks, without their secrets."""
    answer = ask(schedule_routes.webhooks(namespace))
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            item["id"],
            item["url"],
            ",".join(item["events"]) or "by name only",
            "enabled" if item["enabled"] else f"disabled: {item['disabled_reason']}",
        )
        for item in answer["webhooks"]
    ]
    print_table(("id", "url", "events", "state"), rows, empty="no webhooks")


@webhooks.command(
    epilog=examples(
        "stoker webhooks create https://example.com/hooks --event job.failed --event 'schedule.*'",
        "stoker webhooks create https://example.com/ --by-name",
    )
)
@click.argument("url")
@click.option(
    "--event", "events", multiple=True, help="Which events: job.failed, job.*; can be repeated. Default: all."
)
@click.option("--by-name", is_flag=True, help="No events but those that a job or schedule sends there by name.")
@click.option("--description", default="", help="A remark for people.")
@_NAMESPACE
@json_option
def create(url: str, events: tuple[str, ...], by_name: bool, description: str, namespace: str, as_json: bool) -> None:
    """Tell URL of events; prints the secret that signs them, this once."""
    if by_name and events:
        raise click.UsageError("--by-name takes no --event")
    wanted = [] if by_name else list(events) or ["*"]
    answer = ask(schedule_routes.create_webhook(namespace, url, wanted, description))
    if as_json:
        print_json(answer)
        return
    click.echo(answer["secret"])
    note(f"Keep it: it is not shown again. Id {answer['id']}; `stoker webhooks test {answer['id']}` tries it.")


@webhooks.command(epilog=examples("stoker webhooks delete hook_01jd…"))
@click.argument("webhook_id", metavar="WEBHOOK")
@_NAMESPACE
@json_option
def delete(webhook_id: str, namespace: str, as_json: bool) -> None:
    """Delete WEBHOOK with its delivery log."""
    answer = ask(schedule_routes.delete_webhook(webhook_id, namespace))
    if as_json:
        print_json(answer)
    else:
        note(f"{webhook_id} is deleted.")


@webhooks.command(epilog=examples("stoker webhooks enable hook_01jd…"))
@click.argument("webhook_id", metavar="WEBHOOK")
@click.option("--off", is_flag=True, help="Stop it from hearing of anything new.")
@_NAMESPACE
@json_option
def enable(webhook_id: str, off: bool, namespace: str, as_json: bool) -> None:
    """Let WEBHOOK hear of events again, after it was disabled."""
    answer = ask(schedule_routes.change_webhook(webhook_id, namespace, {"enabled": not off}))
    if as_json:
        print_json(answer)
    else:
        note(f"{webhook_id} is {'disabled' if off else 'enabled'}.")


@webhooks.command(epilog=examples("stoker webhooks rotate hook_01jd… --overlap 2h"))
@click.argument("webhook_id", metavar="WEBHOOK")
@click.option("--overlap", type=DURATION, default="24h", show_default=True, help="How long the old secret signs too.")
@_NAMESPACE
@json_option
def rotate(webhook_id: str, overlap: float, namespace: str, as_json: bool) -> None:
    """Give WEBHOOK a new secret and print it, this once."""
    answer = ask(schedule_routes.rotate_webhook(webhook_id, namespace, overlap))
    if as_json:
        print_json(answer)
        return
    click.echo(answer["secret"])
    note(f"Both secrets sign until {answer['old_secret_until']}.")


@webhooks.command(epilog=examples("stoker webhooks test hook_01jd…"))
@click.argument("webhook_id", metavar="WEBHOOK")
@_NAMESPACE
@json_option
def test(webhook_id: str, namespace: str, as_json: bool) -> None:
    """Send WEBHOOK a test event, once."""
    answer = ask(schedule_routes.test_webhook(webhook_id, namespace))
    if as_json:
        print_json(answer)
        return
    click.echo(answer["delivery"])
    note(f"How it went: stoker webhooks deliveries {webhook_id}")


@webhooks.command(
    epilog=examples("stoker webhooks deliveries hook_01jd… --state failed", "stoker webhooks deliveries msg_01jd…")
)
@click.argument("webhook_id", metavar="WEBHOOK")
@click.option("--state", type=click.Choice(["pending", "delivered", "failed"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at most.")
@_NAMESPACE
@json_option
def deliveries(webhook_id: str, state: str | None, limit: int, namespace: str, as_json: bool) -> None:
    """List what was sent to WEBHOOK; of one delivery (msg_…), show every attempt."""
    if webhook_id.startswith("msg_"):
        _show_delivery(webhook_id, namespace, as_json)
        return
    answer = ask(schedule_routes.deliveries(webhook_id, namespace, state, limit))
    if as_json:
        print_json(answer)
        return
    rows = [
        tuple(item[key] for key in ("id", "event", "subject", "state", "attempts", "status", "created_at", "error"))
        for item in answer["deliveries"]
    ]
    columns = ("id", "event", "subject", "state", "attempts", "status", "created", "error")
    print_table(columns, rows, empty="nothing was sent yet")


@webhooks.command(epilog=examples("stoker webhooks redeliver msg_01jd…"))
@click.argument("delivery_id", metavar="DELIVERY")
@_NAMESPACE
@json_option
def redeliver(delivery_id: str, namespace: str, as_json: bool) -> None:
    """Send DELIVERY again, whatever became of it, under the same id."""
    answer = ask(schedule_routes.redeliver(delivery_id, namespace))
    if as_json:
        print_json(answer)
    else:
        note(f"{delivery_id} is on its way again.")


def _show_delivery(delivery_id: str, namespace: str, as_json: bool) -> None:
    answer = ask(schedule_routes.delivery(delivery_id, namespace))
    if as_json:
        print_json(answer)
        return
    fields = {key: value for key, value in answer.items() if key != "attempts_made" and value is not None}
    print_fields({key.replace("_", " "): value for key, value in fields.items()})
    rows = [
        (item["number"], item["at"], f"{item['took_ms']:.0f} ms", item["status"], item["error"], item["answer"])
        for item in answer["attempts_made"]
    ]
    print_table(("attempt", "at", "took", "status", "error", "answer"), rows)
