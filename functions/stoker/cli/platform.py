"""The platform as commands talk to it: the SDK's own client, and answers as the documents that they are.

The rule that must not break: where no platform is known or none answers, the message says how to start one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from stoker.cli.problem import UNREACHABLE
from stoker.connection import Connection, find_connection
from stoker.errors import NotFound, NotReady, PlatformError

if TYPE_CHECKING:
    from stoker.client import Client
    from stoker.routes import Route

Document = dict[str, Any]
START_HINT: Final = "Start one with `stoker serve`, or set STOKER_URL and STOKER_TOKEN."


class NoPlatform(NotReady):
    """This shell knows no platform."""

    code = UNREACHABLE
    phase = "connect"


def known_connection() -> Connection:
    """The platform that this shell knows; raises ``NoPlatform``."""
    try:
        return find_connection()
    except NotFound as error:
        raise NoPlatform(error.detail, hint=START_HINT) from error


@contextlib.contextmanager
def platform() -> Iterator[Client]:
    """Connect to it."""
    from stoker.client import Client

    connection = known_connection()
    with starting_hint(), Client(connection.url, connection.token) as client:
        yield client


@contextlib.contextmanager
def starting_hint() -> Iterator[None]:
    """Say how to start a platform where none answers."""
    try:
        yield
    except PlatformError as error:
        if error.code == UNREACHABLE:
            error.hint = START_HINT
        raise


def ask(route: Route) -> Document:
    """Make one request of management; its document."""
    with platform() as client:
        answer = client.request(route)
    return answer if isinstance(answer, dict) else {"value": answer}
