"""``stoker scale``, ``stoker warmup``, ``stoker retry``: a function's replicas, changed at run time.

The rule that must not break: what is not named on the command line stays as it is.
"""

from __future__ import annotations

from typing import Final

import click

from stoker import routes
from stoker.cli.examples import examples
from stoker.cli.output import json_option, note, print_fields, print_json, progress
from stoker.cli.platform import Document, ask
from stoker.cli.reference import FUNCTION, Reference
from stoker.errors import InvalidOption
from stoker.options import WARMTHS
from stoker.warm_hours import checked_warm_hours

_NONE: Final = "none"


def _keep_alive(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | str | None:
    if value is None or value == "adaptive":
        return value
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"must be seconds or 'adaptive', got {value!r}") from None


def _warm_hours(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> list[str] | None:
    if not texts:
        return None
    if any(text.lower() == _NONE for text in texts):
        if len(texts) > 1:
            raise click.BadParameter(f"'{_NONE}' takes all hours back and stands alone, got {' and '.join(texts)}")
        return []
    try:
        return list(checked_warm_hours("--warm", texts))
    except InvalidOption as error:
        raise click.BadParameter(f"{error.detail}. {error.hint}") from None


@click.command(
    epilog=examples(
        "stoker scale embed --min 1 --keep-alive-s 300",
        "stoker scale embed --warmth eager",
        "stoker scale embed --warm 'Mon-Fri 09:00-18:00 Asia/Kolkata'",
        "stoker scale embed --reset",
    )
)
@click.argument("function", type=FUNCTION)
@click.option("--min", "min_replicas", type=click.IntRange(min=0), help="Replicas that always stay.")
@click.option("--max", "max_replicas", type=click.IntRange(min=1), help="Replicas at most.")
@click.option("--buffer", "buffer_replicas", type=click.IntRange(min=0), help="Ready replicas above demand.")
@click.option("--target-concurrency", type=float, help="Calls in flight that a replica should carry.")
@click.option(
    "--keep-alive-s", callback=_keep_alive, help="Idle seconds before the last replica drains, or 'adaptive'."
)
@click.option("--warmth", type=click.Choice(WARMTHS), help="Adaptive: how much idle time a cold start is worth.")
@click.option("--cold-start-target", type=float, help="Adaptive: share of calls that may start cold, such as 0.01.")
@click.option("--gpu-second-cost", type=float, help="Adaptive: what a loaded second costs.")
@click.option("--cold-start-cost", type=float, help="Adaptive: what a cold start costs, in the same money.")
@click.option("--prewarm-budget-s", type=float, help="Device seconds per hour that prewarms may wait for calls.")
@click.option(
    "--warm",
    multiple=True,
    callback=_warm_hours,
    help="Hours in which one is ready: 'Mon-Fri 09:00-18:00 Asia/Kolkata'; may be given again; 'none' takes them back.",
)
@click.option("--reset", is_flag=True, help="Back to what the deployed function says.")
@json_option
def scale(function: Reference, reset: bool, as_json: bool, **settings: object) -> None:
    """Change FUNCTION's scaling at once, without a new revision; it survives a redeploy.

    Without options, show the scaling in force.
    """
    body = {name: value for name, value in settings.items() if value is not None}
    if reset and body:
        raise click.UsageError(f"--reset takes no other option, got {', '.join(body)}")
    name, namespace = function.name, function.namespace
    if reset:
        answer = ask(routes.reset_scaling(name, namespace))
    elif body:
        answer = ask(routes.scale(name, namespace, body))
    else:
        answer = ask(routes.function(name, namespace)).get("scaling") or {}
    if as_json:
        print_json(answer)
    else:
        print_fields({name.replace("_", " "): _text(value) for name, value in _scaling_of(answer).items()})


@click.command(epilog=examples("stoker warmup embed", "stoker warmup embed --replicas 2"))
@click.argument("function", type=FUNCTION)
@click.option("--replicas", type=click.IntRange(min=1), default=1, show_default=True, help="How many shall be ready.")
@json_option
def warmup(function: Reference, replicas: int, as_json: bool) -> None:
    """Start replicas of FUNCTION now and wait until they are ready."""
    with progress(f"starting {function}"):
        answer = ask(routes.warm_up(function.name, function.namespace, replicas))
    if as_json:
        print_json(answer)
        return
    fields: dict[str, object] = {"replicas": _count(answer.get("replicas")), "took ms": answer.get("took_ms")}
    for phase, took_ms in (answer.get("phases_ms") or {}).items():
        fields[f"  {phase}"] = took_ms
    print_fields({name: round(value, 1) if isinstance(value, float) else value for name, value in fields.items()})


@click.command(epilog=examples("stoker retry embed"))
@click.argument("function", type=FUNCTION)
@json_option
def retry(function: Reference, as_json: bool) -> None:
    """Let FUNCTION start again after three failed starts stopped it."""
    answer = ask(routes.retry(function.name, function.namespace))
    if as_json:
        print_json(answer)
    else:
        note(f"{function} will start at its next call.")


def _scaling_of(answer: Document) -> Document:
    inner = answer.get("scaling")
    return inner if isinstance(inner, dict) else answer


def _text(value: object) -> object:
    return ", ".join(map(str, value)) or None if isinstance(value, list) else value


def _count(replicas: object) -> object:
    return len(replicas) if isinstance(replicas, list) else replicas
