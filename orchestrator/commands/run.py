"""`edgebed run`: run a scenario, show it, and say what came of it."""

import logging
import shlex
import time
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.find import RUNS, find_scenario
from orchestrator.commands.options import (
    boards_option,
    data_option,
    insecure_option,
    json_option,
    maybe_scenario_argument,
    option,
    overrides,
    plugin_option,
    seed_option,
    set_option,
    shaper_option,
    slow_down_option,
    substrate_option,
    trust_option,
)
from orchestrator.commands.plan import plan_all, show_plans
from orchestrator.commands.results import show_comparison, show_outcome
from orchestrator.commands.resume import find_killed, refuse_others, resumed
from orchestrator.commands.serve import port_option, serving
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from node_image.plugins import Plugin
    from orchestrator.compare import PlannedVariant

MOST_LABELS = 10


@click.command()
@maybe_scenario_argument
@set_option
@seed_option
@substrate_option
@shaper_option
@slow_down_option
@boards_option
@insecure_option
@data_option
@plugin_option
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
@trust_option
@option("--meter", metavar="NAME", default="", help="Measure this machine too, by one of `edgebed meters`.")
@click.option("--resume", metavar="RUN", help="Go on with a run that was killed, in its directory.")
@option("--only", metavar="LABEL", help="Of a comparison, the runs whose label has these words: --only arm=elabip.")
@option("--serve", is_flag=True, help="Show the run while it lasts, as a page for the browser on this machine.")
@port_option
@option("--dry-run", is_flag=True, help="Show the plan and run nothing.")
@json_option
@option("-q", "--quiet", is_flag=True, help="Nothing but warnings while it runs.")
@option("-v", "--verbose", count=True, help="What Edgebed itself does, on stderr; twice: in detail.")
def run(
    scenario: str | None,
    assignments: tuple[str, ...],
    seed: int | None,
    substrate: str | None,
    shaper: str | None,
    slow_down: float | None,
    boards: Path | None,
    insecure: bool,
    data_dir: Path | None,
    plugins: "tuple[Plugin, ...]",
    out: Path | None,
    keep: str,
    allow_degraded: bool,
    probe: bool,
    trust: bool,
    meter: str,
    resume: str | None,
    only: str | None,
    serve: bool,
    port: int | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: int,
) -> int:
    """Run a scenario and report what it cost.

    SCENARIO is a name (see `edgebed list`) or a file. Where the scenario compares several algorithms or seeds, they
    run one after another, each shown as it runs; for many runs, several at a time, see `edgebed sweep`. The exit code
    is that of the worst run; `edgebed --help` lists the codes.

    A run that was killed, or that its machine went down with, is gone on with by --resume RUN (a name in runs/, a
    path, or `latest`): in real time from the last instant that it recorded, in virtual time from its beginning, which
    gives the same bytes. What it runs is in its directory, so no SCENARIO is named; give again what is of this machine
    (--trust, --meter, --no-probe, --keep).

    \b
    With --json, stdout is one JSON object a line, the result last:
      {"event": "phase", "name": "probe", "detail": "..."}
      {"event": "phase", "name": "run 1 of 3", "detail": "algorithm=fedavg"}
      {"event": "progress", "t_s": 12.0, "stop_after_s": 72.0, "devices_up": 7,
       "devices": 10, "accuracy": 0.71, "payload_bytes": 16e6, "wire_bytes": 18e6,
       "joules": 390.0, "round": 6}
      {"event": "event", "t_s": 24.0, "text": "dropout of pi-2 began: ..."}
      {"event": "warning", "text": "..."}
      {"event": "result", "schema_version": 1, "name": "smoke", "exit_code": 0,
       "status": "complete", "directory": "runs/...", "summary": {...},
       "expectations": [...], "notes": [...]}
      {"event": "result", "schema_version": 1, "name": "dropout30",
       "exit_code": 0, "planned": 3, "directory": "runs/...", "runs": [...]}
    """
    from orchestrator.outcome import RunOptions
    from orchestrator.terminal import display_for

    if resume is not None:
        found = find_killed(resume)
        asked = {"seed": seed, "substrate": substrate, "shaper": shaper, "slow_down": slow_down}
        refuse_others(
            found,
            asked,
            {
                "SCENARIO": scenario,
                "--set": assignments,
                "--plugin": plugins,
                "--data": data_dir,
                "--out": out,
                "--only": only,
                "--dry-run": dry_run,
            },
        )
        options = RunOptions(
            found.directory, keep=keep, allow_degraded=allow_degraded, probe=probe, trust=trust, meter=meter
        )
        _log(verbose)
        with ExitStack() as stack:
            display = display_for(quiet=quiet, as_json=as_json, plain=verbose > 0)
            stack.callback(display.close)
            if serve:
                tell = partial(display.phase, "page")
                stack.enter_context(serving(found.directory, port, display.warn, tell))
            outcome = resumed(found, options, display)
        return show_outcome(found.plan.name, outcome, as_json=as_json)
    if scenario is None:
        raise UsageError("which scenario? (edgebed list shows them; to go on with a run that was killed: --resume RUN)")
    path = find_scenario(scenario)
    changes = overrides(assignments, seed=seed, substrate=substrate, shaper=shaper, slow_down=slow_down)
    variants = plan_all(path, changes)
    if only is not None:
        variants = with_words(variants, only)
    options = RunOptions(
        out=out or RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}-{variants[0].plan.name}",
        substrate=substrate or "auto",
        shaper=shaper or "auto",
        keep=keep,
        allow_degraded=allow_degraded,
        data_dir=None if data_dir is None else str(data_dir),
        probe=probe,
        boards=boards,
        insecure=insecure,
        plugins=plugins,
        trust=trust,
        meter=meter,
    )
    if dry_run:
        show_plans(variants, options, as_json=as_json)
        return 0
    from orchestrator.run import execute

    _log(verbose)
    text = path.read_text(encoding="utf-8") + note(changes, plugins)
    display = display_for(quiet=quiet, as_json=as_json, plain=verbose > 0)
    try:
        page = serving(options.out, port, display.warn, partial(display.phase, "page")) if serve else nullcontext()
        with page:
            if len(variants) == 1:
                outcome = execute(variants[0].plan, text, options, display)
            else:
                from orchestrator.compare import run_all

                comparison = run_all(variants, text, options, display, execute)
    finally:
        display.close()
    if len(variants) == 1:
        return show_outcome(variants[0].plan.name, outcome, as_json=as_json)
    return show_comparison(comparison, as_json=as_json)


def _log(verbose: int) -> None:
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    logging.basicConfig(level=levels[min(verbose, 2)], format="%(name)s: %(message)s")


def with_words(variants: "tuple[PlannedVariant, ...]", only: str) -> "tuple[PlannedVariant, ...]":
    """The variants whose labels have all the words of `only`; UsageError if there is none."""
    chosen = tuple(each for each in variants if each.label == only or set(only.split()) <= set(each.label.split()))
    if not chosen:
        labels = "; ".join(each.label for each in variants[:MOST_LABELS])
        raise UsageError(f"--only {only!r}: no run has these words in its label; there are: {labels}")
    return chosen


def note(changes: tuple[str, ...], plugins: "tuple[Plugin, ...]") -> str:
    """What the command line changed, for the scenario's copy in the run directory: it can be run again with that."""
    words = [f"--set {shlex.quote(change)}" for change in changes]
    words += [f"--plugin {shlex.quote(plugin.path)}" for plugin in plugins]
    return f"\n# run with: {' '.join(words)}\n" if words else ""
