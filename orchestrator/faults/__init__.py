"""Faults: one file a kind. The table below is the list of kinds."""

from orchestrator.faults import crash, degrade, disconnect, dropout, flap, partition, pause, straggler
from orchestrator.faults.base import FaultKind

FAULTS: dict[str, FaultKind] = {
    "coordinator_crash": crash.COORDINATOR,
    "crash": crash.KIND,
    "degrade": degrade.KIND,
    "disconnect": disconnect.KIND,
    "dropout": dropout.KIND,
    "flap": flap.KIND,
    "partition": partition.KIND,
    "pause": pause.KIND,
    "straggler": straggler.KIND,
}
