"""Options that several commands share, each also an environment variable, but for the one that must be typed."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from node_image.plugins import Plugin

SUBSTRATES = ("auto", "simulation", "mininet", "docker", "ssh")
SHAPERS = ("auto", "delay_line", "netem")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def option(*names: str, envvar: str | None = None, **settings: Any) -> Decorator:
    """A click option that can be given as EDGEBED_<LONG NAME> too, and says so in its help."""
    long_name = next(name for name in names if name.startswith("--")).removeprefix("--").split("/")[0]
    variable = envvar or "EDGEBED_" + long_name.upper().replace("-", "_")
    return click.option(*names, envvar=variable, show_envvar=True, **settings)


def load_plugins(context: click.Context, _: click.Parameter, paths: tuple[Path, ...]) -> "tuple[Plugin, ...]":
    """Have the files in the registry for as long as the command runs."""
    if not paths:
        return ()
    from node_image.plugins import PluginError, loaded

    try:
        return context.with_resource(loaded(paths))
    except PluginError as error:
        raise UsageError(str(error)) from error


PLUGIN_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
scenario_argument = click.argument("scenario", shell_complete=lambda ctx, param, text: _names_like(text))
maybe_scenario_argument = click.argument(
    "scenario", required=False, shell_complete=lambda ctx, param, text: _names_like(text)
)
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
slow_down_option = option(
    "--slow-down",
    type=click.FloatRange(min=1),
    help="Run so many times slower in real time, and report in the scenario's; replaces the scenario's.",
)
data_option = option("--data", "data_dir", type=click.Path(path_type=Path), help="Folder of downloaded data sets.")
boards_option = option(
    "--boards",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Inventory of physical boards, for --substrate ssh.",
)
insecure_option = click.option(  # no variable: it must be typed
    "--insecure",
    is_flag=True,
    help="On boards, do not encrypt what nodes send each other; every report of the run says so.",
)
plugin_option = option(
    "--plugin",
    "plugins",
    multiple=True,
    type=PLUGIN_FILE,
    callback=load_plugins,
    help="A file of your own: mine.py is the algorithm, rule, model, selection or task `mine`.",
)
trust_option = option(
    "--trust", is_flag=True, help="Run the programs that the scenario's workload names, on this machine."
)
json_option = option("--json", "as_json", is_flag=True, help="JSON on stdout, for programs.")


def overrides(assignments: tuple[str, ...], **options: float | str | None) -> tuple[str, ...]:
    """All overrides as `path=value` texts: --set first, then the dedicated options that were given, which win."""
    return (*assignments, *(f"{name}={value}" for name, value in options.items() if value is not None))


def _names_like(text: str) -> list[str]:
    from orchestrator.commands.find import scenario_files

    return [name for name in scenario_files() if name.startswith(text)]
