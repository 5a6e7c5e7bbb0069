"""`edgebed list`, `show`, `validate` and `schema`: what can be said of scenarios without running them."""

from typing import TYPE_CHECKING

import click

from orchestrator.commands.find import find_scenario, scenario_files
from orchestrator.commands.options import (
    json_option,
    overrides,
    plugin_option,
    scenario_argument,
    seed_option,
    set_option,
)
from orchestrator.commands.plan import plan_all
from orchestrator.commands.results import print_json
from orchestrator.errors import Problem, ScenarioError
from orchestrator.terminal import print_line

if TYPE_CHECKING:
    from node_image.plugins import Plugin


@click.command("list")
@json_option
def list_scenarios(as_json: bool) -> int:
    """List the scenarios."""
    from orchestrator.scenario import load_scenario

    rows = []
    for name, path in scenario_files().items():
        try:
            rows.append((name, load_scenario(path, ()).about))
        except ScenarioError as error:
            rows.append((name, f"(broken: {error.problems[0]})"))
    if as_json:
        found = [{"name": name, "about": about} for name, about in rows]
        print_json({"schema_version": 1, "scenarios": found})
    else:
        width = max((len(name) for name, _ in rows), default=0)
        for name, about in rows:
            print_line(f"{name:{width}}  {about}", "bold", indent=width + 2, styled=width)
    return 0


@click.command()
@click.argument("files", nargs=-1, required=True)
@plugin_option
@json_option
def validate(files: tuple[str, ...], plugins: "tuple[Plugin, ...]", as_json: bool) -> int:
    """Check scenario files.

    Every mistake in FILES (or names) as file:line:column. Ends with 2 if there is any.
    """
    problems: list[Problem] = []
    for name in files:
        path = find_scenario(name)
        try:
            plan_all(path, ())
        except ScenarioError as error:
            problems.extend(error.problems)
        else:
            click.echo(f"{path}: valid", err=True)
    if as_json:
        found = [{**vars(problem), "message": str(problem)} for problem in problems]
        print_json({"schema_version": 1, "valid": not problems, "problems": found})
    else:
        for problem in problems:
            place = f"{problem.file}:{problem.line}:{problem.column}:"
            print_line(str(problem), "bold", indent=4, styled=len(place))
        if problems:
            click.echo(f"{len(problems)} mistake{'s' if len(problems) > 1 else ''}", err=True)
    return 2 if problems else 0


@click.command()
@scenario_argument
@set_option
@seed_option
@plugin_option
@json_option
def show(
    scenario: str, assignments: tuple[str, ...], seed: int | None, plugins: "tuple[Plugin, ...]", as_json: bool
) -> int:
    """Print a scenario with all defaults."""
    from orchestrator.scenario import dump_resolved, load_scenario

    loaded = load_scenario(find_scenario(scenario), overrides(assignments, seed=seed))
    if as_json:
        print_json(loaded.model_dump(mode="json"))
    else:
        click.echo(dump_resolved(loaded), nl=False)
    return 0


@click.command()
@plugin_option
def schema(plugins: "tuple[Plugin, ...]") -> int:
    """Print the JSON Schema of scenarios, for editors: every key and plug-in, with units, defaults and meaning."""
    from orchestrator.schema import schema_text

    click.echo(schema_text(), nl=False)
    return 0
