"""`edgebed sweep`: many runs of a scenario at a time - combinations, seeds - and one table of what came of them."""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.find import RUNS, find_scenario, is_comparison, run_directories
from orchestrator.commands.options import (
    data_option,
    json_option,
    option,
    overrides,
    plugin_option,
    scenario_argument,
    seed_option,
    set_option,
    shaper_option,
    substrate_option,
    trust_option,
)
from orchestrator.commands.plan import plan_all, show_plans
from orchestrator.commands.run import note, with_words
from orchestrator.commands.serve import port_option, serving
from orchestrator.commands.sweep_table import show_sweep
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node_image.plugins import Plugin
    from orchestrator.compare import PlannedVariant
    from orchestrator.outcome import RunOptions
    from orchestrator.sweep import OpenPlace


@click.command()
@scenario_argument
@option("--seeds", type=click.IntRange(min=1), help="So many seeds, from the scenario's own; replaces compare.seeds.")
@option("--jobs", type=click.IntRange(min=1), help="Runs at a time. [default: a simulated one for each core]")
@option("--resume", is_flag=True, help="Go on in --out, or in the newest sweep of this scenario: keep what has ended.")
@option("--redo", is_flag=True, help="With --resume: make runs again that ended by another plan.")
@option("--on", metavar="RAY", help="A Ray cluster, ray://HOST:10001, or `ray` for one on this machine.")
@set_option
@seed_option
@substrate_option
@shaper_option
@data_option
@plugin_option
@option("--out", type=click.Path(path_type=Path), help="Folder to make. [default: runs/<time>-<name>]")
@option("--only", metavar="LABEL", help="Only runs whose label has these words: --only arm=elabip.")
@option(
    "--keep",
    type=click.Choice(["never", "on-failure", "always"]),
    default="on-failure",
    show_default=True,
    help="When to keep the nodes' own files (checkpoints, standard error) in the run directories.",
)
@option("--allow-degraded", is_flag=True, help="End with 0 or 1 even if the emulation was not as true as asked.")
@trust_option
@option("--serve", is_flag=True, help="Show the runs while they last, as a page for the browser on this machine.")
@port_option
@option("--dry-run", is_flag=True, help="Show the plan and the matrix, and run nothing.")
@json_option
@option("-q", "--quiet", is_flag=True, help="Nothing but warnings while it runs.")
def sweep(
    scenario: str,
    seeds: int | None,
    jobs: int | None,
    resume: bool,
    redo: bool,
    on: str | None,
    assignments: tuple[str, ...],
    seed: int | None,
    substrate: str | None,
    shaper: str | None,
    data_dir: Path | None,
    plugins: "tuple[Plugin, ...]",
    out: Path | None,
    only: str | None,
    keep: str,
    allow_degraded: bool,
    trust: bool,
    serve: bool,
    port: int | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run all that a scenario compares, many at a time, and show one table.

    SCENARIO is a name (see `edgebed list`) or a file. Simulated runs go one to a core; runs of real processes one
    after another, since they would disturb each other. A run that fails is counted and the others go on; after
    Ctrl-C, or worse, --resume keeps what has ended.

    \b
    With --json, stdout is one JSON object a line, the result last:
      {"event": "sweep", "runs": 40, "kept": 3}
      {"event": "progress", "label": "...", "t_s": 12.0, "stop_after_s": 72.0, ...}
      {"event": "run", "number": 4, "of": 40, "label": "...", "exit_code": 0,
       "error": null, "took_s": 2.1}
      {"event": "page", "text": "http://127.0.0.1:8420/ ..."}
      {"event": "warning", "text": "..."}
      {"event": "result", "schema_version": 1, "name": "...", "exit_code": 0,
       "planned": 40, "directory": "runs/...", "runs": [...], "claims_found": [...],
       "table": [{"factors": {...}, "runs": 10, "failed": 0, "degraded": 0,
                  "spreads": {"test_accuracy": {"mean": 0.9, "sd": 0.01, "n": 10}}}]}
    """
    from orchestrator.outcome import RunOptions
    from orchestrator.resume import Resume
    from orchestrator.sweep import sweep as run_sweep
    from orchestrator.terminal.sweep import sweep_display_for

    if redo and not resume:
        raise UsageError("--redo goes with --resume")
    path = find_scenario(scenario)
    changes = overrides(assignments, seed=seed, substrate=substrate, shaper=shaper, **{"compare.seeds": seeds})
    variants = plan_all(path, changes)
    if only is not None:
        variants = with_words(variants, only)
    options = RunOptions(
        out=_folder(out, variants[0].plan.name, resume=resume and not dry_run).resolve(),
        substrate=substrate or "auto",
        shaper=shaper or "auto",
        keep=keep,
        allow_degraded=allow_degraded,
        data_dir=None if data_dir is None else str(data_dir),
        plugins=plugins,
        trust=trust,
    )
    if dry_run:
        show_plans(variants, options, as_json=as_json)
        return 0
    display = sweep_display_for(quiet=quiet, as_json=as_json)
    how = Resume.REDO if redo else Resume.KEEP if resume else Resume.NOTHING
    try:
        place = _place(variants, options, jobs, on)
        text = path.read_text(encoding="utf-8") + note(changes, plugins)
        with serving(options.out, port, display.warn, display.page) if serve else nullcontext():
            comparison = run_sweep(variants, text, options, place, display, how)
    finally:
        display.close()
    return show_sweep(comparison, as_json=as_json)


def _folder(out: Path | None, name: str, *, resume: bool) -> Path:
    if out is not None:
        return out
    if not resume:
        return RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    found = [path for path in run_directories() if is_comparison(path) and path.name.endswith(f"-{name}")]
    if not found:
        raise UsageError(f"--resume: no sweep of {name} in {RUNS}/; name its folder with --out")
    return found[-1]


def _place(
    variants: "Sequence[PlannedVariant]", options: "RunOptions", jobs: int | None, on: str | None
) -> "OpenPlace":
    from orchestrator.pool import cores
    from orchestrator.sweep import in_processes, slots_here

    if on is None:
        return in_processes(slots_here(variants, options, jobs, cores()))
    from orchestrator.cluster import on_ray

    return on_ray(on, jobs)
