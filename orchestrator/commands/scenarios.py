"""`edgebed list`, `show`, `validate`, `plan` and `schema`: what can be said of scenarios without running them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.find import find_scenario, scenario_files
from orchestrator.commands.options import (
    json_option,
    overrides,
    scenario_argument,
    seed_option,
    set_option,
    shaper_option,
    substrate_option,
)
from orchestrator.errors import ScenarioError

if TYPE_CHECKING:
    from orchestrator.compare import PlannedVariant


@click.command("list")
@json_option
def list_scenarios(as_json: bool) -> int:
    """List the scenarios and what each is about."""
    from orchestrator.scenario import load_scenario

    rows = []
    for name, path in scenario_files().items():
        try:
            rows.append((name, load_scenario(path, ()).about))
        except ScenarioError as error:
            rows.append((name, f"(broken: {error.problems[0]})"))
    if as_json:
        found = [{"name": name, "about": about} for name, about in rows]
        click.echo(json.dumps({"schema_version": 1, "scenarios": found}, indent=1))
    else:
        width = max((len(name) for name, _ in rows), default=0)
        for name, about in rows:
            click.echo(f"{name:{width}}  {about}")
    return 0


@click.command()
@click.argument("files", nargs=-1, required=True)
@json_option
def validate(files: tuple[str, ...], as_json: bool) -> int:
    """Check scenario FILES (or names): every mistake as file:line:column. Ends with 2 if there is any."""
    from orchestrator.scenario import load_scenario

    problems = []
    for name in files:
        path = find_scenario(name)
        try:
            plan_all(path, ())
        except ScenarioError as error:
            problems.extend(error.problems)
        else:
            load_scenario(path, ())
            click.echo(f"{path}: valid", err=True)
    if as_json:
        found = [{**vars(problem), "message": str(problem)} for problem in problems]
        click.echo(json.dumps({"schema_version": 1, "valid": not problems, "problems": found}, indent=1))
    else:
        for problem in problems:
            click.echo(str(problem))
    return 2 if problems else 0


def plan_all(path: Path, assignments: tuple[str, ...]) -> "tuple[PlannedVariant, ...]":
    """Every variant of a scenario file, planned; raises ScenarioError."""
    from orchestrator.compare import PlannedVariant
    from orchestrator.plan import make_plan
    from orchestrator.scenario import expand, load_scenario

    variants = expand(load_scenario(path, assignments))
    return tuple(PlannedVariant(variant.label, make_plan(variant.scenario, variant.seed)) for variant in variants)
