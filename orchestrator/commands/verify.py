"""`edgebed verify`: whether what runs have written down can be true, one line an invariant."""

import json
from dataclasses import replace
from pathlib import Path

import click

from orchestrator.commands.find import find_run, is_comparison
from orchestrator.commands.options import json_option, option
from orchestrator.errors import UsageError

SIGNS = {"true": "✓", "false": "✗", "unknown": "?"}


@click.command()
@click.argument("run", default="latest")
@option("--baseline", metavar="RUN", help="The same run without its faults: its accuracy is what was to be reached.")
@option("--margin", default="5 %", show_default=True, help="Accuracy that the faults may have cost, with --baseline.")
@json_option
def verify(run: str, baseline: str | None, margin: str, as_json: bool) -> int:
    """Check the history of RUN: that bytes add up, no update is lost, nobody speaks from the dead...

    RUN is a path, a name in runs/, or `latest`. Each invariant is true, false or unknown, with the reason. Ends with 6
    where one is false.
    """
    from orchestrator.terminal import Column, print_line, print_table
    from orchestrator.units import SHARE
    from orchestrator.verify import CHECKS, to_json
    from orchestrator.verify import verify as verify_history
    from orchestrator.verify.history import read_history

    directory = find_run(run)
    histories = {path: read_history(path) for path in _runs(directory)}
    if baseline is not None:
        undisturbed = read_history(find_run(baseline)).summary.get("test_accuracy")
        if undisturbed is None:
            raise UsageError(f"--baseline {baseline}: no accuracy was measured in it")
        try:
            share = SHARE.parse(margin)
        except ValueError as error:
            raise UsageError(f"--margin: {error}") from error
        histories = {
            path: replace(history, baseline_accuracy=undisturbed, margin=share) for path, history in histories.items()
        }
    is_false = False
    for path, history in histories.items():
        found = verify_history(history)
        is_false |= any(each.truth == "false" for each in found)
        if as_json:
            click.echo(json.dumps({"directory": str(path), **to_json(found)}))
            continue
        rows = [[each.id, SIGNS[each.truth], CHECKS[each.id][0], "; ".join(each.reasons)] for each in found]
        print_table(path.name, [Column(""), Column(""), Column("what holds"), Column("because")], rows)
    if not as_json:
        print_line("✓ true   ✗ false   ? nobody can tell")
    return 6 if is_false else 0


def _runs(directory: Path) -> list[Path]:
    """A run, or all runs of a comparison that have come to their end."""
    if not is_comparison(directory):
        return [directory]
    return sorted(path.parent for path in directory.glob("*/result.json"))
