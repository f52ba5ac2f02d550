"""How a command line names a function: ``[namespace/]name[.method][@revision or alias]``.

The rule that must not break: one spelling, the same in every command.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from stoker.cli.parameter_type import ParameterType
from stoker.errors import PlatformError

_REFERENCE: Final = re.compile(
    r"^(?:(?P<namespace>[^/@.\s]+)/)?(?P<name>[^/@.\s]+)(?:\.(?P<method>[A-Za-z_]\w*))?(?:@(?P<at>[^/@\s]+))?$"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A function as named on a command line."""

    namespace: str
    name: str
    method: str | None = None
    at: str | None = None
    """A revision's number or an alias."""

    @property
    def revision(self) -> int | None:
        """The revision's number, where one was given."""
        if self.at is None:
            return None
        if not self.at.isdigit():
            raise click.UsageError(f"a revision's number must stand after '@' here, got {self.at!r}")
        return int(self.at)

    def call_path(self, namespace: str | None = None) -> str:
        """Where it is called."""
        from stoker.call_request import CallTarget

        return CallTarget(name=self.name, namespace=namespace or self.namespace, version=self.at).path

    def __str__(self) -> str:
        return self.name if self.namespace == "default" else f"{self.namespace}/{self.name}"


class FunctionName(ParameterType):
    """A parameter that names a function; completes names that the platform has."""

    name = "function"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Reference:
        """Read it; a wrong one is a usage error."""
        if isinstance(value, Reference):
            return value
        match = _REFERENCE.match(value)
        if match is None:
            self.fail(f"{value!r} is no function name; write [namespace/]name[.method][@revision or alias]", param, ctx)
        return Reference(match["namespace"] or "default", match["name"], match["method"], match["at"])

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of deployed functions; nothing where no platform answers."""
        from stoker import routes
        from stoker.cli.platform import ask

        try:
            found = ask(routes.functions()).get("functions", [])
        except PlatformError:
            return []
        return [CompletionItem(item["name"]) for item in found if item["name"].startswith(incomplete)]


FUNCTION: Final = FunctionName()
