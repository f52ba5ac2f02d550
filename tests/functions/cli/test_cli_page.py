"""docs/cli.md names every command and option there is, and none that is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from stoker.cli.main import main
from stoker.cli.problem import ExitCode

PAGE = (Path(__file__).resolve().parents[3] / "docs/cli.md").read_text()


def leaves(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with how it is typed."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path} {name}")
        elif command is not None:
            yield f"{path} {name}", command


COMMANDS = dict(leaves(main, "stoker"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_its_options_are_on_the_page(name: str) -> None:
    assert f"`{name}" in PAGE
    spellings = [max(item.opts, key=len) for item in COMMANDS[name].params if isinstance(item, click.Option)]
    assert [option for option in spellings if option != "--json" and f"`{option}" not in PAGE] == []


def test_the_page_names_no_option_that_does_not_exist() -> None:
    known = {opt for command in COMMANDS.values() for item in command.params for opt in item.opts} | {"--help"}
    named = set(re.findall(r"`(--[a-z-]+)", PAGE))
    assert named - known == set()


def test_the_page_names_every_exit_code() -> None:
    assert [code for code in ExitCode if f"| {code.value} |" not in PAGE] == []
