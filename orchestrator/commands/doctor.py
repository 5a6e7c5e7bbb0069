"""`edgebed doctor`: say what works here and how to get the rest."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orchestrator.commands.find import RUNS
from orchestrator.commands.options import json_option
from orchestrator.terminal import print_line

if TYPE_CHECKING:
    from orchestrator.doctor import Ability, Check

NAME_WIDTH = 18
INDENT = NAME_WIDTH + 4
_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Say what works on this machine.

    Which substrates and shapers work here, and how to get the others. Changes nothing. Ends with 0 if at least
    one substrate works, else with 3.
    """
    from orchestrator.command import attempt
    from orchestrator.doctor import SHAPERS_ABOUT, diagnose
    from orchestrator.substrates import SUBSTRATES

    found = diagnose(attempt, RUNS)
    if as_json:
        click.echo(json.dumps({"schema_version": 1, **asdict(found)}, indent=1))
    else:
        print_line("Substrates: where nodes live", "bold")
        for ability in found.substrates:
            _show_ability(ability, SUBSTRATES[ability.name].about)
        print_line("\nShapers: what makes links slow", "bold")
        for ability in found.shapers:
            _show_ability(ability, SHAPERS_ABOUT[ability.name])
        print_line("\nThis machine", "bold")
        for check in found.checks:
            _show_check(check)
    return 0 if any(ability.works for ability in found.substrates) else 3


def _show_ability(ability: "Ability", about: str) -> None:
    mark, style = _MARKS["ok" if ability.works else "fail"]
    print_line(f"{mark} {ability.name:{NAME_WIDTH}}  {about}", style, indent=INDENT, styled=1)
    for lack in ability.lacks:
        print_line(f"{'':{INDENT}}needs {lack}", indent=INDENT)


def _show_check(check: "Check") -> None:
    mark, style = _MARKS[check.status]
    print_line(f"{mark} {check.name:{NAME_WIDTH}}  {check.found}", style, indent=INDENT, styled=1)
    if check.remedy:
        print_line(f"{'':{INDENT}}→ {check.remedy}", indent=INDENT + 2)
