"""The command line: every command with what its --help prints."""

import click

from orchestrator.cli import cli

WIDTH = 100


def page() -> str:
    """All commands, in alphabetical order."""
    parts = [
        "# Command line\n",
        "What `edgebed COMMAND --help` prints. Results go to stdout, everything else to stderr; the exit code says how "
        "it ended. `make` sets up and calls the same commands.\n",
        _shown(cli, "edgebed"),
    ]
    for name, command in sorted(cli.commands.items()):
        parts += _command(command, f"edgebed {name}", "##")
    return "\n".join(parts)


def _command(command: click.Command, called: str, level: str) -> list[str]:
    parts = [f"{level} {called}\n", _shown(command, called)]
    if isinstance(command, click.Group):
        for name, inner in sorted(command.commands.items()):
            parts += _command(inner, f"{called} {name}", level + "#")
    return parts


def _shown(command: click.Command, called: str) -> str:
    context = click.Context(command, info_name=called, terminal_width=WIDTH, max_content_width=WIDTH)
    return f"```text\n{command.get_help(context)}\n```\n"
