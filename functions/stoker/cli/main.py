"""``stoker``: the one command, and how its subcommands are found.

The rule that must not break: a command's module is imported when that command is run and not before, so that
``stoker --help`` and completion stay fast. Commands of higher floors come through the entry points ``stoker.commands``.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from difflib import get_close_matches
from typing import Final

import click

from stoker.cli.problem import Failure, remote_refusal
from stoker.errors import PlatformError

ENTRY_POINTS: Final = "stoker.commands"
OTHERS: Final = "Other"

SECTIONS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "Start": {
        "serve": ("", "Run the platform on this machine."),
        "doctor": ("", "Check this machine and say what to fix."),
    },
    "Write and deploy": {
        "run": ("stoker.cli.run:run", "Run a function here, once."),
        "deploy": ("stoker.cli.deploy:deploy", "Register the functions of a file or module."),
        "env": ("stoker.cli.environments:env", "Build environments ahead, list what is built."),
        "secret": ("stoker.cli.secrets:secret", "Set, list and delete secrets."),
    },
    "Call and watch": {
        "call": ("stoker.cli.call:call", "Call a function and print its answer."),
        "batch": ("stoker.cli.batch:batch", "Map functions over data sets; follow and steer such runs."),
        "jobs": ("stoker.cli.jobs:jobs", "List, follow, cancel and re-run durable calls."),
        "schedules": ("stoker.cli.schedules:schedules", "Run functions by the clock; see how that went."),
        "triggers": ("stoker.cli.triggers:triggers", "Run functions on messages and events."),
        "list": ("stoker.cli.functions:list_functions", "List functions."),
        "describe": ("stoker.cli.describe:describe", "Show all about one function."),
        "logs": ("stoker.cli.logs:logs", "Show what a function printed."),
        "ps": ("stoker.cli.ps:ps", "Show devices and replicas."),
    },
    "Roll out": {
        "history": ("stoker.cli.history:history", "List a function's revisions; export recorded traffic."),
        "promote": ("stoker.cli.rollout:promote", "Point an alias at a revision."),
        "rollback": ("stoker.cli.rollout:rollback", "Go back to an earlier revision."),
        "alias": ("stoker.cli.rollout:alias", "Set, list and delete aliases; split traffic."),
        "delete": ("stoker.cli.functions:delete", "Delete a function or one of its revisions."),
    },
    "Operate": {
        "scale": ("stoker.cli.scale:scale", "Change a function's scaling without a deploy."),
        "warmup": ("stoker.cli.scale:warmup", "Make replicas ready before the load."),
        "retry": ("stoker.cli.scale:retry", "Let a crash-looping function start again."),
        "simulate": ("", "Replay recorded traffic through other settings and policies."),
        "webhooks": ("stoker.cli.webhooks:webhooks", "Tell other services of jobs, batch runs and schedules."),
        "token": ("stoker.cli.tokens:token", "Create, list and revoke access tokens."),
        "completion": ("stoker.cli.completion:completion", "Print the completion script of a shell."),
    },
}
"""Section → command → (where it is, or "" for an entry point; what help says about it)."""


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the help page."""
        return [name for section in _sections().values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None if there is none of that name."""
        own = {name: where for section in SECTIONS.values() for name, (where, _) in section.items()}
        if own.get(cmd_name):
            module, _, attribute = own[cmd_name].partition(":")
            found = getattr(importlib.import_module(module), attribute)
        else:
            entry = _entry_points().get(cmd_name)
            found = entry.load() if entry else None
        return found if isinstance(found, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown one is answered with the names it resembles."""
        command = self.get_command(ctx, args[0])
        if command is None and not args[0].startswith("-"):
            close = get_close_matches(args[0], self.list_commands(ctx), n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(repr(name) for name in close)}?" if close else ""
            ctx.fail(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands by section, without importing any."""
        for title, section in _sections().items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in section.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an error of the platform becomes a message and an exit code."""
        try:
            return super().invoke(ctx)
        except PlatformError as error:
            raise Failure(error, ctx) from error
        except KeyboardInterrupt:
            ctx.exit(130)
        except Exception as error:
            refusal = remote_refusal(error)
            if refusal is None:
                raise
            raise Failure(refusal, ctx) from error


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Try: stoker serve, then stoker deploy app.py, then stoker call NAME key=value.",
)
@click.version_option(package_name="stoker", prog_name="stoker")
def main() -> None:
    """Serverless Python functions for inference, on your own machines.

    Commands find the platform by STOKER_URL and STOKER_TOKEN, or by what `stoker serve` left in its data directory.
    """


def _sections() -> dict[str, dict[str, tuple[str, str]]]:
    """What exists here: our own commands, and the entry points that are installed."""
    found = _entry_points()
    sections = {
        title: {name: item for name, item in section.items() if item[0] or name in found}
        for title, section in SECTIONS.items()
    }
    named = {name for section in SECTIONS.values() for name in section}
    sections[OTHERS] = {name: ("", "") for name in sorted(found) if name not in named}
    return {title: section for title, section in sections.items() if section}


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return {entry.name: entry for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)}


if __name__ == "__main__":
    main(prog_name="stoker")
