"""`edgebed calibrate`: one plan in emulation and in simulation, and the gap between the two."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator import quantities
from orchestrator.commands.find import RUNS, find_scenario
from orchestrator.commands.options import (
    json_option,
    option,
    overrides,
    plugin_option,
    scenario_argument,
    seed_option,
    set_option,
)
from orchestrator.commands.plan import plan_all
from orchestrator.outcome import meaning

if TYPE_CHECKING:
    from node_image.plugins import Plugin

EMULATION = "mininet"


@click.command()
@scenario_argument
@set_option
@seed_option
@option("--out", type=click.Path(path_type=Path), help="Folder for both runs. [default: runs/<time>-calibrate-<name>]")
@plugin_option
@json_option
def calibrate(
    scenario: str,
    assignments: tuple[str, ...],
    seed: int | None,
    out: Path | None,
    plugins: "tuple[Plugin, ...]",
    as_json: bool,
) -> int:
    """Compare simulation with emulation.

    Runs SCENARIO in both and prints both columns, with the gap. Where the scenario compares, its first variant is
    taken. Ends with 1 if a gap is wider than promised.
    """
    from orchestrator.agreement import agreements
    from orchestrator.compare import PlannedVariant, run_all
    from orchestrator.outcome import RunOptions
    from orchestrator.run import execute
    from orchestrator.terminal import Column, display_for, print_line, print_table

    path = find_scenario(scenario)
    plan = plan_all(path, overrides(assignments, seed=seed))[0].plan
    folder = out or RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}-calibrate-{plan.name}"
    substrates = (EMULATION, "simulation")
    variants = [PlannedVariant(substrate, plan, substrate) for substrate in substrates]
    display = display_for(as_json=as_json)
    options = RunOptions(folder, plugins=plugins)
    try:
        done = run_all(variants, path.read_text(encoding="utf-8"), options, display, execute)
    finally:
        display.close()
    outcomes = [result.outcome for result in done.results if result.outcome]
    if len(outcomes) < len(substrates):
        print_line(f"no comparison: {meaning(done.exit_code)}; see {folder}")
        return done.exit_code
    emulated, simulated = (outcome.summary for outcome in outcomes)
    lasted = [summary.get("lasted_s") or 0.0 for summary in (emulated, simulated)]
    found = agreements(simulated, emulated, cut_short=max(lasted) >= plan.stop_after_s)
    (folder / "agreement.json").write_text(json.dumps([asdict(each) for each in found], indent=1), encoding="utf-8")
    if as_json:
        event = {"event": "agreement", "schema_version": 1, "directory": str(folder)}
        click.echo(json.dumps({**event, "figures": [asdict(each) for each in found]}))
    else:
        rows = [
            [
                quantities.words(each.metric),
                quantities.of_metric(each.metric, each.simulated),
                quantities.of_metric(each.metric, each.emulated),
                "-" if each.gap is None else f"{100 * each.gap:+.2f} %",
                "-" if each.tolerance is None else quantities.percent(each.tolerance),
                {True: "✓", False: "✗", None: ""}[each.ok],
            ]
            for each in found
        ]
        numbers = ("simulation", EMULATION, "gap", "promised")
        print_table(plan.name, [Column(""), *(Column(name, number=True) for name in numbers), Column("")], rows)
        print_line(f"run directories: {folder}")
    return 1 if any(each.ok is False for each in found) else 0
