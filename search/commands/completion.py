"""``parecido completion``: a script with which a shell completes the commands."""

from __future__ import annotations

import click

from parecido.indexer.commands.terminal import debug_option

__all__ = ["completion_command"]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@debug_option
def completion_command(shell: str) -> None:
    """Print a shell completion script.

    For bash: `parecido completion bash >> ~/.bashrc`; for zsh the same with ~/.zshrc; for fish:
    `parecido completion fish > ~/.config/fish/completions/parecido.fish`.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "parecido", "_PARECIDO_COMPLETE").source())
