"""`edgebed doctor`: say what works here and how to get the rest."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orchestrator.commands.find import RUNS
from orchestrator.commands.options import json_option

if TYPE_CHECKING:
    from orchestrator.doctor import Ability

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Say what works on this machine.

    Which substrates and shapers work here, and how to get the others. Changes nothing. Ends with 0 if at least
    one substrate works, else with 3.
    """
    from orchestrator.command import attempt
    from orchestrator.doctor import diagnose

    found = diagnose(attempt, RUNS)
    if as_json:
        click.echo(json.dumps({"schema_version": 1, **asdict(found)}, indent=1))
    else:
        for check in found.checks:
            status = click.style(f"{check.status:4}", fg=_STYLES[check.status])
            click.echo(f"{status}  {check.name:20} {check.found}")
            if check.remedy:
                click.echo(f"      {'':20} -> {check.remedy}")
        for title, abilities in (("substrates", found.substrates), ("shapers", found.shapers)):
            click.echo(f"\n{title}")
            for ability in abilities:
                click.echo(f"  {ability.name:12} {_worth(ability)}")
    return 0 if any(ability.works for ability in found.substrates) else 3


def _worth(ability: "Ability") -> str:
    if ability.works:
        return click.style("works here", fg="green")
    return click.style("not here: ", fg="yellow") + "; ".join(ability.lacks)
