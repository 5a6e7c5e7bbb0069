"""I8: the models that nodes ended with are finite, and what was learned is worth what an undisturbed run's is."""

from orchestrator.verify.checked import Checked, judged, unknown
from orchestrator.verify.history import History

ID = "I8"


def check(history: History) -> Checked:
    """Finite for every node that ended well; the accuracy is compared where that of an undisturbed run is known."""
    ended = list(history.named("node_model"))
    broken = [f"the model of {event.details['node']} is not finite" for event in ended if not event.details["finite"]]
    if not ended and not broken:
        return unknown(ID, "no node told with which model it ended")
    found, beside = history.summary.get("test_accuracy"), history.baseline_accuracy
    if beside is not None and (found is None or found < beside - history.margin):
        reached = "none" if found is None else f"{found:.1%}"
        broken.append(f"accuracy {reached}, and {beside:.1%} undisturbed, of which it may lack {history.margin:.1%}")
    disturbed = any(fault.injected_at_s is not None for fault in history.faults)
    unsure = ["all are finite; there were faults, and no undisturbed run to compare the accuracy with"]
    return judged(ID, f"{len(ended)} models", broken, unsure if disturbed and beside is None else ())
