"""Options that several commands share, each also an environment variable."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

SUBSTRATES = ("auto", "simulation", "mininet", "docker", "ssh")
SHAPERS = ("auto", "delay_line", "netem")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def option(*names: str, envvar: str | None = None, **settings: Any) -> Decorator:
    """A click option that can be given as EDGEBED_<LONG NAME> too, and says so in its help."""
    long_name = next(name for name in names if name.startswith("--")).removeprefix("--").split("/")[0]
    variable = envvar or "EDGEBED_" + long_name.upper().replace("-", "_")
    return click.option(*names, envvar=variable, show_envvar=True, **settings)


scenario_argument = click.argument("scenario", shell_complete=lambda ctx, param, text: _names_like(text))
set_option = option(
    "--set",
    "assignments",
    multiple=True,
    metavar="PATH=VALUE",
    help="Override one value: --set learning.rule.name=lls.",
)
seed_option = option("--seed", type=click.IntRange(min=0), help="Seed of everything random; replaces the scenario's.")
substrate_option = option(
    "--substrate", type=click.Choice(SUBSTRATES), help="Where nodes live; replaces the scenario's."
)
shaper_option = option("--shaper", type=click.Choice(SHAPERS), help="What makes links slow; replaces the scenario's.")
data_option = option("--data", "data_dir", type=click.Path(path_type=Path), help="Folder of downloaded data sets.")
json_option = option("--json", "as_json", is_flag=True, help="JSON on stdout, for programs.")


def overrides(assignments: tuple[str, ...], **options: int | str | None) -> tuple[str, ...]:
    """All overrides as `path=value` texts: --set first, then the dedicated options that were given, which win."""
    return (*assignments, *(f"{name}={value}" for name, value in options.items() if value is not None))


def _names_like(text: str) -> list[str]:
    from orchestrator.commands.find import scenario_files

    return [name for name in scenario_files() if name.startswith(text)]
