"""Enrolling boards: their host keys are shown once to a person, who compares them, and pinned from then on."""

from dataclasses import dataclass
from typing import Literal

from orchestrator.boards.inventory import Board, Inventory
from orchestrator.hosts.ssh import BoardError, HostKey, offered_key, pin, pinned_keys

State = Literal["pinned", "unknown"]


@dataclass(frozen=True)
class Offer:
    """The key that a board offers now, and whether it is the pinned one."""

    board: Board
    key: HostKey
    state: State


def offer_of(inventory: Inventory, board: Board) -> Offer:
    """Ask a board for its key. BoardError where it cannot be reached, and always where another key is pinned."""
    key = offered_key(board)
    pinned = pinned_keys(inventory.known_hosts, board)
    if key in pinned:
        return Offer(board, key, "pinned")
    if pinned:
        before = ", ".join(each.fingerprint for each in pinned)
        raise BoardError(
            board.where,
            f"its host key has CHANGED: pinned is {before}, it now offers {key.fingerprint}",
            "find out why; if the board was set up anew, remove its line from"
            f" {inventory.known_hosts} and enroll it again",
        )
    return Offer(board, key, "unknown")


def accept(inventory: Inventory, offer: Offer) -> None:
    """Pin the key of an offer that a person has compared."""
    pin(inventory.known_hosts, offer.board, offer.key)
