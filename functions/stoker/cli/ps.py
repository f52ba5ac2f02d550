"""``stoker ps``: what runs where.

The rule that must not break: one look is one request, so watching costs the platform next to nothing.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import click

from stoker import routes
from stoker.cli.describe import replica_row
from stoker.cli.examples import examples
from stoker.cli.output import console, draw, is_terminal, json_option, print_json, print_table, rich_table, size
from stoker.cli.platform import Document, platform

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

DEVICES: Final = ("device", "kind", "memory", "free", "replicas")
REPLICAS: Final = ("function", "replica", "state", "revision", "device", "pid", "memory", "in flight", "idle s")


@click.command(epilog=examples("stoker ps", "stoker ps --watch", "stoker ps --json | jq '.replicas[].state'"))
@click.option("-w", "--watch", is_flag=True, help="Draw it anew until Ctrl-C (on a terminal).")
@click.option("--interval-s", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Between looks.")
@json_option
def ps(watch: bool, interval_s: float, as_json: bool) -> None:
    """Show devices with their memory, and every replica with its state.

    In a pipe: one replica a line, tab-separated.
    """
    with platform() as client:
        if watch and is_terminal() and not as_json:
            from rich.live import Live

            with Live(_drawn(client.request(routes.pool())), console=console(), auto_refresh=False) as live:
                while not threading.Event().wait(interval_s):
                    live.update(_drawn(client.request(routes.pool())), refresh=True)
        answer = client.request(routes.pool())
    if as_json:
        print_json(answer)
    elif is_terminal():
        draw(*_parts(answer))
    else:
        print_table(REPLICAS, _replicas(answer))


def _drawn(answer: Document) -> Group:
    from rich.console import Group

    return Group(*_parts(answer))


def _parts(answer: Document) -> list[RenderableType]:
    from rich.text import Text

    devices = rich_table(DEVICES, _devices(answer))
    replicas = _replicas(answer)
    if not replicas:
        return [devices, Text("\nNo replica: everything is scaled to zero.", style="dim")]
    return [devices, Text(""), rich_table(REPLICAS, replicas)]


def _devices(answer: Document) -> list[tuple[object, ...]]:
    return [
        (
            item.get("name"),
            item.get("kind"),
            size(item.get("memory_bytes")),
            size(item.get("free_bytes")),
            len(item["replicas"]) if isinstance(item.get("replicas"), list) else item.get("replicas"),
        )
        for item in answer.get("devices") or []
    ]


def _replicas(answer: Document) -> list[tuple[object, ...]]:
    return [(_function(item), *replica_row(item)) for item in answer.get("replicas") or []]


def _function(item: Document) -> object:
    name = item.get("name") or item.get("function") or str(item.get("revision_key", "")).partition("@")[0]
    namespace = item.get("namespace", "default")
    return name if namespace == "default" else f"{namespace}/{name}"
