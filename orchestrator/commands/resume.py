"""`edgebed run --resume`: which run, what must not be said again, and with which plug-ins it goes on."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.commands.find import RUNS, find_run
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.interrupted import Interrupted
    from orchestrator.outcome import Outcome, RunOptions
    from orchestrator.terminal import Display


def find_killed(name: str) -> "Interrupted":
    """The run that was killed, by path, by its name in `runs/`, or `latest`; UsageError where there is none."""
    from orchestrator.interrupted import find_interrupted

    there = [path for path in (Path(name), RUNS / name) if (path / "run.json").is_file()]
    return find_interrupted(there[0] if there else find_run(name))


def refuse_others(found: "Interrupted", asked: Mapping[str, Any], never: Mapping[str, object]) -> None:
    """UsageError for options of which the plan says otherwise, and for those that would be another run, all at once."""
    planned = {
        "seed": found.plan.seed,
        "substrate": found.substrate,
        "shaper": found.shaper,
        "slow_down": found.plan.slow_down,
    }
    problems = [
        f"--{name.replace('_', '-')} {value} (the run has {planned[name]})"
        for name, value in asked.items()
        if value not in (None, "auto", planned[name])
    ]
    problems += [name for name, value in never.items() if value]
    if problems:
        raise UsageError(
            f"--resume goes on with what is planned in {found.directory}; leave out {', '.join(problems)}, "
            "or begin another run without --resume"
        )


def resumed(found: "Interrupted", options: "RunOptions", display: "Display") -> "Outcome":
    """Go on with it, with the copies of its plug-ins in the registry."""
    from node_image.plugins import PluginError, copies_loaded
    from orchestrator.run import go_on

    try:
        with copies_loaded(found.directory):
            return go_on(found, options, display)
    except PluginError as error:
        raise UsageError(str(error)) from error
