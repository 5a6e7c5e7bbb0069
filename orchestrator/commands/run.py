"""`edgebed run`: run a scenario, show it, and say what came of it."""

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands import results
from orchestrator.commands.find import RUNS, find_scenario
from orchestrator.commands.options import (
    data_option,
    json_option,
    option,
    overrides,
    scenario_argument,
    seed_option,
    set_option,
    shaper_option,
    substrate_option,
)

if TYPE_CHECKING:
    from orchestrator.compare import PlannedVariant


@click.command()
@scenario_argument
@set_option
@seed_option
@substrate_option
@shaper_option
@data_option
@option("--out", type=click.Path(path_type=Path), help="Run directory to make. [default: runs/<time>-<name>]")
@option(
    "--keep",
    type=click.Choice(["never", "on-failure", "always"]),
    default="on-failure",
    show_default=True,
    help="When to keep the nodes' own files (checkpoints, standard error) in the run directory.",
)
@option("--allow-degraded", is_flag=True, help="End with 0 or 1 even if the emulation was not as true as asked.")
@option("--probe/--no-probe", default=True, show_default=True, help="Measure every link before the run.")
@option("--dry-run", is_flag=True, help="Show the plan and run nothing.")
@json_option
@option("-q", "--quiet", is_flag=True, help="Nothing but warnings while it runs.")
@option("-v", "--verbose", count=True, help="What Edgebed itself does, on stderr; twice: in detail.")
def run(
    scenario: str,
    assignments: tuple[str, ...],
    seed: int | None,
    substrate: str | None,
    shaper: str,
    data_dir: Path | None,
    out: Path | None,
    keep: str,
    allow_degraded: bool,
    probe: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: int,
) -> int:
    """Run SCENARIO (a name, see `edgebed list`, or a file) and report what it cost.

    Where the scenario compares several algorithms or seeds, they run one after another. The exit code is that of the
    worst run; `edgebed --help` lists the codes.
    """
    from orchestrator.commands.scenarios import plan_all
    from orchestrator.outcome import RunOptions
    from orchestrator.terminal import display_for

    path = find_scenario(scenario)
    variants = plan_all(path, overrides(assignments, seed, substrate))
    if dry_run:
        results.show_plans(variants, as_json=as_json)
        return 0
    from orchestrator.run import execute

    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    logging.basicConfig(level=levels[min(verbose, 2)], format="%(name)s: %(message)s")
    options = RunOptions(
        out=out or RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}-{variants[0].plan.name}",
        substrate=substrate or "auto",
        shaper=shaper,
        keep=keep,
        allow_degraded=allow_degraded,
        data_dir=None if data_dir is None else str(data_dir),
        probe=probe,
    )
    text = path.read_text(encoding="utf-8")
    display = display_for(quiet=quiet, as_json=as_json, plain=verbose > 0)
    try:
        if len(variants) == 1:
            outcome = execute(variants[0].plan, text, options, display)
        else:
            from orchestrator.compare import run_all

            comparison = run_all(variants, text, options, display, execute)
    finally:
        display.close()
    if len(variants) == 1:
        return results.show_outcome(variants[0].plan.name, outcome, as_json=as_json)
    return results.show_comparison(comparison, as_json=as_json)


@click.command()
@scenario_argument
@set_option
@seed_option
@substrate_option
@shaper_option
@json_option
def plan(
    scenario: str, assignments: tuple[str, ...], seed: int | None, substrate: str | None, shaper: str, as_json: bool
) -> int:
    """Show what a run of SCENARIO would do: nodes, links, faults, and what is measured and what modelled."""
    from orchestrator.commands.scenarios import plan_all

    variants = plan_all(find_scenario(scenario), overrides(assignments, seed, substrate))
    results.show_plans(variants, as_json=as_json)
    return 0
