"""`edgebed fuzz`: run scenarios drawn by seeds, with faults of all kinds, and verify every one of them."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.options import json_option, option
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.outcome import Outcome, RunOptions
    from orchestrator.plan import Plan


@click.command()
@option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="The first seed.")
@option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="So many seeds, one after the other.")
@option(
    "--substrate",
    type=click.Choice(["simulation", "mininet"]),
    default="simulation",
    show_default=True,
    help="Where nodes live.",
)
@option("--keep", type=click.Path(path_type=Path), help="Write the run directory of the seed here (with --count 1).")
@json_option
def fuzz(seed: int, count: int, substrate: str, keep: Path | None, as_json: bool) -> int:
    """Look for faults that break an invariant.

    Each seed draws an algorithm, devices, links and 3 to 10 faults; the run is verified. A seed that fails is told
    with the line that shows it again, and with the fewest faults of it that still fail. Ends with 6 if one failed.
    """
    from orchestrator.run import execute
    from orchestrator.terminal import QuietDisplay
    from orchestrator.verify.drawing import draw
    from orchestrator.verify.fuzzing import fuzz as fuzz_one
    from orchestrator.verify.fuzzing import problems

    if keep is not None and count > 1:
        raise UsageError("--keep is for one seed: leave --count out")

    def run(plan: "Plan", text: str, options: "RunOptions") -> "Outcome":
        return execute(plan, text, options, QuietDisplay())

    began, failures = time.monotonic(), []
    for each in range(seed, seed + count):
        if keep is not None:
            problems(draw(each), run, substrate, keep)
        failure = fuzz_one(each, run, substrate=substrate)
        if failure is not None:
            failures.append(failure)
            click.echo(
                f"seed {each}: {'; '.join(failure.what)}\n  again: {failure.replay}\n{failure.scenario}", err=True
            )
    told = {"seeds": count, "failed": [each.seed for each in failures], "took_s": round(time.monotonic() - began, 1)}
    click.echo(json.dumps(told) if as_json else f"{count} seeds, {len(failures)} failed, {told['took_s']} s")
    return 6 if failures else 0
