"""``stoker triggers``: messages and events that start functions.

The rule that must not break: a broker's URL may hold a password, so it is never printed back as it was given.
"""

from __future__ import annotations

import os
from typing import Any, Final

import click

from stoker import trigger_routes
from stoker.cli.examples import examples
from stoker.cli.output import json_option, note, print_fields, print_json, print_table
from stoker.cli.platform import Document, ask
from stoker.cli.reference import FUNCTION, Reference

_NAMESPACE: Final = click.option("-n", "--namespace", default="default", show_default=True, help="Of the trigger.")
_TEXTS: Final = ("url", "topic", "group", "results", "dead_letters", "reply_type", "passed", "start")
_NUMBERS: Final = ("max_in_flight", "max_attempts")


@click.group()
def triggers() -> None:
    """Run functions on messages of Redis, RabbitMQ, NATS or Kafka, and on CloudEvents."""


@triggers.command("list", epilog=examples("stoker triggers list"))
@_NAMESPACE
@json_option
def list_triggers(namespace: str, as_json: bool) -> None:
    """List triggers with what each does now."""
    answer = ask(trigger_routes.triggers(namespace))
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            item["name"],
            item["function"],
            f"{item['kind']} {item['topic'] or ''}".strip(),
            _state(item),
            item["succeeded"],
            item["dead_lettered"],
        )
        for item in answer["triggers"]
    ]
    print_table(("name", "function", "from", "state", "succeeded", "dead"), rows, empty="no triggers")


@triggers.command(
    epilog=examples(
        "stoker triggers create orders embed --url redis://localhost:6379 --topic orders --results vectors",
        "stoker triggers create orders embed --url-from BROKER_URL --topic orders --max-attempts 5",
        "stoker triggers create events embed --url http: --passed event --reply-type com.example.embedded",
    )
)
@click.argument("name")
@click.argument("function", type=FUNCTION)
@click.option("--url", help="redis://, amqp://, nats://, kafka://, or http: for CloudEvents that are posted.")
@click.option("--url-from", help="Environment variable that holds the URL, to keep its password out of the history.")
@click.option("--topic", help="Stream, queue, subject or topic to consume.")
@click.option("--group", help="Group of consumers. Default: stoker-NAMESPACE-NAME.")
@click.option("--results", help="Topic on the same broker for results. Default: none.")
@click.option("--dead-letters", help="Topic for messages that used up their attempts. Default: TOPIC-dead.")
@click.option("--max-in-flight", type=click.IntRange(1), help="Messages held at once. Default: 64.")
@click.option(
    "--max-attempts", type=click.IntRange(1), help="Runs of one message before it is a dead letter. Default: 3."
)
@click.option("--passed", type=click.Choice(["data", "event"]), help="What the function gets; event: all, as `event`.")
@click.option("--start", type=click.Choice(["earliest", "latest"]), help="Where a new group begins.")
@click.option("--reply-type", help="Make the result a CloudEvent of this type.")
@click.option("--paused", is_flag=True, help="Make it, and let it wait for `resume`.")
@json_option
def create(
    name: str, function: Reference, url: str | None, url_from: str | None, paused: bool, as_json: bool, **given: Any
) -> None:
    """Make the trigger NAME that runs FUNCTION on each message."""
    if (url is None) == (url_from is None):
        raise click.UsageError("give one of --url and --url-from")
    if url_from is not None:
        url = os.environ.get(url_from)
        if not url:
            raise click.UsageError(f"the environment has no {url_from}")
    spec: Document = {"name": name, "function": function.name, "ref": function.at, "method": function.method}
    spec |= {key: given[key] for key in (*_TEXTS, *_NUMBERS) if key != "url"}
    spec |= {"url": url, "paused": paused or None}
    wanted = {key: value for key, value in spec.items() if value is not None}
    _show(ask(trigger_routes.create_trigger(function.namespace, wanted)), as_json)


@triggers.command(epilog=examples("stoker triggers show orders"))
@click.argument("name")
@_NAMESPACE
@json_option
def show(name: str, namespace: str, as_json: bool) -> None:
    """Show all about trigger NAME: its state, its counts, and how many messages wait."""
    _show(ask(trigger_routes.trigger(name, namespace)), as_json)


@triggers.command(epilog=examples("stoker triggers change orders --max-in-flight 128"))
@click.argument("name")
@_NAMESPACE
@click.option("--max-in-flight", type=click.IntRange(1), help="Messages held at once.")
@click.option("--max-attempts", type=click.IntRange(1), help="Runs of one message before it is a dead letter.")
@json_option
def change(name: str, namespace: str, as_json: bool, **given: int | None) -> None:
    """Change the limits of trigger NAME; what runs ends first."""
    wanted = {key: value for key, value in given.items() if value is not None}
    if not wanted:
        raise click.UsageError("give --max-in-flight or --max-attempts")
    _show(ask(trigger_routes.change_trigger(name, namespace, wanted)), as_json)


@triggers.command(epilog=examples("stoker triggers pause orders"))
@click.argument("name")
@_NAMESPACE
@json_option
def pause(name: str, namespace: str, as_json: bool) -> None:
    """Let trigger NAME fetch nothing until `resume`; what runs ends first."""
    answer = ask(trigger_routes.trigger_action(name, namespace, "pause"))
    _done(answer, as_json, f"{name} is paused.")


@triggers.command(epilog=examples("stoker triggers resume orders"))
@click.argument("name")
@_NAMESPACE
@json_option
def resume(name: str, namespace: str, as_json: bool) -> None:
    """Let trigger NAME go on where it was."""
    answer = ask(trigger_routes.trigger_action(name, namespace, "resume"))
    _done(answer, as_json, f"{name} goes on.")


@triggers.command(epilog=examples("stoker triggers delete orders"))
@click.argument("name")
@_NAMESPACE
@json_option
def delete(name: str, namespace: str, as_json: bool) -> None:
    """Delete trigger NAME; its messages and its group stay at the broker."""
    answer = ask(trigger_routes.delete_trigger(name, namespace))
    _done(answer, as_json, f"{name} is deleted.")


def _state(item: Document) -> str:
    return f"{item['state']}: {item['reason']}" if item["reason"] else str(item["state"])


def _show(answer: Document, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    print_fields({key.replace("_", " "): value for key, value in answer.items() if value is not None})


def _done(answer: Document, as_json: bool, text: str) -> None:
    if as_json:
        print_json(answer)
    else:
        note(text)
