"""`edgebed boards`: get physical boards to take part, and say what each lacks."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.options import json_option, option
from orchestrator.errors import UsageError
from orchestrator.terminal import print_line

if TYPE_CHECKING:
    from orchestrator.boards.check import BoardReport, Check
    from orchestrator.boards.enroll import Offer
    from orchestrator.boards.inventory import Board, Inventory

CANNOT = 3
NAME_WIDTH = 12
INDENT = NAME_WIDTH + 4
_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}
inventory_argument = click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=Path("boards.yaml")
)
board_option = option("--board", "names", multiple=True, metavar="NAME", help="Only this board of the inventory.")


@click.group()
def boards() -> None:
    """Enroll physical boards and check whether they can take part.

    FILE is an inventory, boards.yaml if not given; scenarios/boards/example.yaml shows what it holds.
    """


@boards.command()
@inventory_argument
@board_option
@option("--yes", is_flag=True, help="Pin every unknown key without asking: for boards that nobody can be in front of.")
@option("--fingerprint", metavar="SHA256:...", help="Pin the key of the one board if it has this fingerprint.")
def enroll(file: Path, names: tuple[str, ...], yes: bool, fingerprint: str | None) -> int:
    """Show the host key of each board in FILE, and pin it.

    Compare each fingerprint with what the board itself says (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub). The
    keys are kept in a known-hosts file beside FILE. A run refuses a board whose key is not there, and one whose key
    has changed always.
    """
    from orchestrator.boards.enroll import accept, offer_of
    from orchestrator.hosts.ssh import BoardError

    inventory, chosen = _chosen(file, names)
    remote = [board for board in chosen if not board.is_here]
    if fingerprint is not None and len(remote) != 1:
        raise UsageError(f"--fingerprint is for one board, and {len(remote)} are meant: name it with --board")
    problems = 0
    for board in remote:
        try:
            offer = offer_of(inventory, board)
        except BoardError as error:
            click.echo(f"edgebed: {error}", err=True)
            problems += 1
            continue
        if offer.state == "pinned":
            print_line(f"{board.where}: {offer.key.fingerprint} is pinned already")
        elif _is_accepted(offer, yes=yes, fingerprint=fingerprint):
            accept(inventory, offer)
            print_line(f"{board.where}: pinned in {inventory.known_hosts}")
        else:
            click.echo(f"{board.where}: not pinned", err=True)
            problems += 1
    return CANNOT if problems else 0


@boards.command()
@inventory_argument
@board_option
@json_option
def check(file: Path, names: tuple[str, ...], as_json: bool) -> int:
    """Say what each board in FILE has and lacks, all at once.

    Python and its libraries, disk, memory, clock, root, the tunnel, the data interface, which shapers work there, and
    what its meter reads, if it has one.
    Ends with 0 if all can take part, else with 3.
    """
    import asyncio

    from orchestrator.boards.check import check_boards

    inventory, chosen = _chosen(file, names)
    reports = asyncio.run(check_boards(inventory, chosen))
    if as_json:
        found = [
            {"name": each.board, "ok": each.ok, "checks": [asdict(one) for one in each.checks]} for each in reports
        ]
        click.echo(json.dumps({"schema_version": 1, "boards": found}, indent=1))
    else:
        for number, report in enumerate(reports):
            _show(report, first=number == 0)
    return 0 if all(report.ok for report in reports) else CANNOT


@boards.command()
@inventory_argument
@board_option
@option(
    "--wheels",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of wheels to install on each board, of torch and what else a node needs; no registry is asked.",
)
def ship(file: Path, names: tuple[str, ...], wheels: Path | None) -> int:
    """Bring each board in FILE what a run needs, ahead of it.

    A run ships what is missing by itself; only the libraries (--wheels) it does not.
    """
    import asyncio

    from orchestrator.boards.ship import ship_all

    inventory, chosen = _chosen(file, names)
    done = asyncio.run(ship_all(inventory, chosen, wheels))
    for board, said, problem in done:
        if problem:
            click.echo(f"edgebed: {problem}", err=True)
        else:
            print_line(f"{board.where}: {said}")
    return CANNOT if any(problem for _, _, problem in done) else 0


def _chosen(file: Path, names: tuple[str, ...]) -> "tuple[Inventory, tuple[Board, ...]]":
    from orchestrator.boards.inventory import load_inventory
    from orchestrator.forms.base import unknown

    inventory = load_inventory(file)
    known = {board.name: board for board in inventory.boards}
    for name in names:
        if name not in known:
            raise UsageError(f"--board: {unknown('board', name, known)}")
    return inventory, tuple(board for board in inventory.boards if not names or board.name in names)


def _is_accepted(offer: "Offer", *, yes: bool, fingerprint: str | None) -> bool:
    print_line(f"{offer.board.where}: {offer.key.kind} {offer.key.fingerprint}")
    if fingerprint is not None:
        if fingerprint != offer.key.fingerprint:
            raise UsageError(f"{offer.board.where} offers {offer.key.fingerprint}, and not {fingerprint}: not pinned")
        return True
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to compare the fingerprint: give it with --fingerprint, or --yes")
    return click.confirm("Does the board itself show the same fingerprint?", default=False)


def _show(report: "BoardReport", *, first: bool) -> None:
    print_line(
        f"{'' if first else chr(10)}{report.board}: {'can take part' if report.ok else 'cannot take part'}", "bold"
    )
    for each in report.checks:
        _show_check(each)


def _show_check(check: "Check") -> None:
    mark, style = _MARKS[check.status]
    print_line(f"{mark} {check.name:{NAME_WIDTH}}  {check.found}", style, indent=INDENT, styled=1)
    if check.remedy:
        print_line(f"{'':{INDENT}}→ {check.remedy}", indent=INDENT + 2)
