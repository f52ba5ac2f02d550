"""``stoker completion``: the script that makes a shell complete our commands.

The rule that must not break: the script only calls `stoker` back, so it never goes out of date.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from stoker.cli.examples import examples


@click.command(
    epilog=examples(
        'eval "$(stoker completion bash)"      # in ~/.bashrc',
        'eval "$(stoker completion zsh)"       # in ~/.zshrc',
        "stoker completion fish > ~/.config/fish/completions/stoker.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL; it completes commands, options and names of deployed functions."""
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "stoker", "_STOKER_COMPLETE").source())
