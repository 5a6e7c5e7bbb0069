"""Which node goes on which board: by profile where one has it, else in the inventory's order, evenly."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.boards.inventory import HERE, Board
from orchestrator.plan import Plan, PlannedNode


def this_machine(profile: str) -> Board:
    """The board that is no board: the orchestrator's own machine."""
    return Board(name=HERE, host=HERE, port=0, user="", key=Path(), profile=profile)


def place(plan: Plan, boards: Sequence[Board]) -> Mapping[str, Board]:
    """A board for every node, by the node's name; the same plan and inventory give the same places.

    A device goes to the board of its profile that has least to do, the first of several; where no board has its
    profile, to the one with least to do of all. The coordinator goes to a board only if one has its profile (`server`,
    if the scenario says nothing), and else stays on the orchestrator's machine.
    """
    load: Counter[str] = Counter()
    found: dict[str, Board] = {}
    devices = [node for node in plan.nodes if node.role == "device"]
    matched = [node for node in plan.nodes if _of_profile(node, boards)]
    for node in [*matched, *(node for node in devices if node not in matched)]:
        board = min(_of_profile(node, boards) or boards, key=lambda each: load[each.name])
        load[board.name] += 1
        found[node.name] = board
    here = next((board for board in boards if board.is_here), None)
    for node in plan.nodes:
        if node.name not in found:
            found[node.name] = here or this_machine(node.profile.name)
    return {node.name: found[node.name] for node in plan.nodes}


def runs_at_its_own_speed(node: PlannedNode, board: Board) -> bool:
    """Whether the node's device is the board itself: nothing needs to be slowed then."""
    return not node.profile.slowed or (not board.is_here and board.profile == base_profile(node))


def pairs_in_the_open(plan: Plan, places: Mapping[str, Board]) -> frozenset[frozenset[str]]:
    """The pairs of nodes whose messages cross a network outside this machine: those of which one is on a board.

    Two nodes on one board are such a pair: their way is by the fabric, which is here.
    """
    away = {name for name, board in places.items() if not board.is_here}
    return frozenset(
        frozenset((node.name, peer.name))
        for node in plan.nodes
        for peer in node.spec.peers
        if away & {node.name, peer.name}
    )


def base_profile(node: PlannedNode) -> str:
    """The profile of a node without the changes that the scenario made to it."""
    return node.profile.name.partition("+")[0]


def _of_profile(node: PlannedNode, boards: Sequence[Board]) -> list[Board]:
    return [board for board in boards if board.profile == base_profile(node)]
