"""`edgebed completion`: what the shell needs to complete commands, options and scenario names."""

import click
from click.shell_completion import get_completion_class

from orchestrator.errors import UsageError


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the completion script of a shell.

    For bash: eval "$(edgebed completion bash)"
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"no completion for {shell}")
    click.echo(kind(context.find_root().command, {}, "edgebed", "_EDGEBED_COMPLETE").source())
    return 0
