"""Verify: whether what a run has written down can be true. Small pure checkers over its history, one an invariant.

Each says true, false or unknown, and why. The table below is the list of invariants.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.verify import acted, healed, links, log, messages, mixing, models, silence, updates
from orchestrator.verify.checked import unknown

if TYPE_CHECKING:
    from orchestrator.verify.checked import Checked
    from orchestrator.verify.history import History

SCHEMA_VERSION = 1
CHECKS: "dict[str, tuple[str, Callable[[History], Checked]]]" = {
    "I1": ("what was offered to a link was delivered, dropped or is in flight, in packets and bytes", links.check),
    "I2": ("what was sent was received or lost, kind by kind and in order; all counters agree", messages.check),
    "I3": ("no update that reached the coordinator went missing there", updates.check_none_missing),
    "I4": ("no update was applied twice, or without having come", updates.check_none_twice),
    "I5": ("versions rise, and staleness is how far they rose since the update's model left", updates.check_versions),
    "I6": ("no message crossed a partition or a link that was down", silence.check_cuts),
    "I7": ("who is dead or frozen says nothing and spends nothing; energy is the sum of its parts", silence.check_dead),
    "I8": ("all parameters are finite, and learning recovered from the faults", models.check),
    "I9": ("gossip leaves the mean of all parameters as it was", mixing.check),
    "I10": ("every event is numbered, in time and has a cause; every fault of the plan began and ended", log.check),
    "G9": ("after the last fault all is as before, and who lives goes on", healed.check),
    "G10": ("every fault acted: there is evidence, and the records agree with it", acted.check),
}

OF_ALL_RECORDS = {"I2", "I3", "I4", "I5", "I9"}  # nobody can tell where some are missing


def verify(history: "History") -> "tuple[Checked, ...]":
    """Every invariant, in the order of the table."""
    return tuple(_checked(id_, check, history) for id_, (_, check) in CHECKS.items())


def to_json(found: "Sequence[Checked]") -> dict[str, Any]:
    """What is written to verify.json."""
    told = [
        {"id": each.id, "about": CHECKS[each.id][0], "truth": each.truth, "reasons": each.reasons} for each in found
    ]
    return {"schema_version": SCHEMA_VERSION, "invariants": told}


def _checked(id_: str, check: "Callable[[History], Checked]", history: "History") -> "Checked":
    """A checker that fails has found something that it did not expect: then nobody can tell."""
    if id_ in OF_ALL_RECORDS and history.incomplete:
        return unknown(id_, f"records of {', '.join(sorted(history.incomplete))} were lost")
    try:
        return check(history)
    except Exception as error:
        return unknown(id_, f"the check itself failed: {error!r}")
