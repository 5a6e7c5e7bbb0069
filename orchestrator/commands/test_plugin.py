"""`edgebed test-plugin`: whether a file of one's own keeps what every plug-in of its kind must."""

import tempfile
from pathlib import Path

import click

from orchestrator.commands.options import PLUGIN_FILE, json_option, set_option
from orchestrator.commands.results import print_json

MARKS = {True: "✓", False: "✗", None: "-"}


@click.command("test-plugin")
@click.argument("file", type=PLUGIN_FILE)
@set_option
@json_option
def test_plugin(file: Path, assignments: tuple[str, ...], as_json: bool) -> int:
    """Check a file of your own.

    Runs FILE in small simulated scenarios, with a dropout, a partition and garbage among the messages, and says what
    it does not keep and what to do about it. Ends with 1 where a check fails. --set changes the scenario: an algorithm
    without a coordinator is checked with --set coordinator=none --set topology.kind=ring.
    """
    from orchestrator.plugin_checks import check_plugin
    from orchestrator.terminal import Column, print_line, print_table

    with tempfile.TemporaryDirectory() as folder:
        findings = check_plugin(file, Path(folder), assignments)
    failed = [finding for finding in findings if finding.ok is False]
    if as_json:
        checks = [vars(finding) for finding in findings]
        print_json({"schema_version": 1, "plugin": str(file), "passed": not failed, "checks": checks})
        return 1 if failed else 0
    rows = [[MARKS[finding.ok], finding.check, finding.found] for finding in findings]
    print_table(str(file), [Column(""), Column("check"), Column("found", soft=True)], rows)
    for finding in failed:
        print_line()
        print_line(f"✗ {finding.check}", "bold")
        print_line(f"  {finding.found}", indent=2)
        print_line(f"  what to do: {finding.remedy}", indent=2)
    return 1 if failed else 0
