"""What each algorithm is tested with: a task, a model, a rule, and who is linked to whom. Small, so that it is quick.

Times are short, so that in a run of seconds a device that hears nothing asks again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from node_image.spec import Chosen, ComputeSpeed, TaskSpec
from orchestrator.plan import Plan, PlannedFault
from tests.plans import BOARD, COORDINATOR, mesh, ring, star

DIGITS = TaskSpec("digits")
MLP = Chosen("mlp")
BACKPROP = Chosen("backprop", {"learning_rate": 0.1, "batch_size": 32})
MODULAR = Chosen("modular", {"width": 32, "hidden": 16, "modules": 4, "top_k": 2})
THREE_IN_A_STAR = partial(star, 3)
TWO_PLACES = ((0.0, 0.0), (10.0, 0.0), (500.0, 0.0), (510.0, 0.0))
SOON = {"rejoin_after_s": 0.5}
SLOW_BOARD = replace(BOARD, speed=ComputeSpeed(macs_per_s=1e8, op_overhead_s=500e-6))  # little to compute in a second


@dataclass(frozen=True)
class Case:
    """An algorithm with what it is tested on; `gives` are the messages by which a device takes part, if it speaks."""

    algorithm: str
    parameters: dict[str, Any]
    links: Callable[..., Plan] = THREE_IN_A_STAR
    task: TaskSpec = DIGITS
    model: Chosen = MLP
    rule: Chosen = BACKPROP
    gives: tuple[str, ...] = ("update",)
    paced_s: float = 0.0  # from one local phase of the coordinator to the next; a server would do thousands of steps

    def plan(self, stop_after_s: float, faults: tuple[PlannedFault, ...] = (), **parameters: Any) -> Plan:
        """A run of so many seconds, with these parameters of the algorithm over the case's own."""
        plan = self.links(
            algorithm=Chosen(self.algorithm, {**self.parameters, **parameters}),
            task=self.task,
            model=self.model,
            rule=self.rule,
            profile=SLOW_BOARD,
            stop_after_s=stop_after_s,
            faults=faults,
        )
        coordinator, *devices = plan.nodes
        if coordinator.name == COORDINATOR:
            coordinator = replace(coordinator, spec=replace(coordinator.spec, phase_every_s=self.paced_s))
        return replace(plan, nodes=(coordinator, *devices))

    def but(self, **parameters: Any) -> "Case":
        """This case with other parameters of the algorithm."""
        return replace(self, parameters={**self.parameters, **parameters})


ECLM = Case(
    "eclm",
    {**SOON, "offline_steps": 40, "local_steps": 4, "size": 0.75, "deadline_s": 0.5, "evaluate_every_s": 1.0},
    task=TaskSpec("digits", public=200),
    model=MODULAR,
)
ELABIP = Case(
    "elabip",
    {**SOON, "critical_exchanges": 1, "critical_steps": 5, "reply_within_s": 0.5, "evaluate_every_s": 1.0},
    model=Chosen("softhebb1", {"filters": 16}),
    rule=Chosen("softhebb"),
)
GOSSIP = Case(
    "bilayer_gossip",
    {"local_steps": 5, "clusters": 2, "pair_timeout_s": 0.5, "deadline_s": 0.5},
    links=partial(mesh, 4, at_m=TWO_PLACES),
    gives=("accept", "give"),
)
CASES = {
    "bilayer_gossip": GOSSIP,
    "centralized": Case(
        "centralized",
        {"chunk_samples": 8, "resend_after_s": 0.5, "evaluate_every_s": 1.0},
        task=TaskSpec("digits", stream_per_s=60.0),
        gives=("samples",),
        paced_s=0.05,
    ),
    "draco": Case("draco", {"local_steps": 5}, links=mesh, gives=("model",)),
    "dsgd": Case("dsgd", {"local_steps": 5, "deadline_s": 0.5}, links=ring, gives=("model",)),
    "eclm": ECLM,
    "elabip": ELABIP,
    "fedasync": Case("fedasync", {**SOON, "local_steps": 10, "evaluate_every_s": 1.0}),
    "fedavg": Case("fedavg", {**SOON, "local_steps": 5, "deadline_s": 1.0}),
    "fedbuff": Case("fedbuff", {**SOON, "local_steps": 10}),
    "fedprox": Case("fedprox", {**SOON, "local_steps": 5, "deadline_s": 1.0}),
    "local_only": Case("local_only", {"local_steps": 10}, gives=()),
}
VARIANTS = {
    "bilayer_gossip onehop": GOSSIP.but(dkmeans="onehop", distance="data", balanced=True),
    "eclm async": ECLM.but(mode="async"),
    "eclm from nothing": replace(
        ECLM.but(offline_steps=0), task=DIGITS, rule=Chosen("backprop", {"learning_rate": 0.3})
    ),
    "elabip features": ELABIP.but(kd="features"),
    "elabip full student": ELABIP.but(student="full", beta=0.3),
    "elabip logits": replace(ELABIP.but(kd="logits"), task=TaskSpec("digits", public=100)),
    "elabip none": replace(ELABIP.but(kd="none"), model=MLP, rule=BACKPROP),
    "elabip stats": ELABIP.but(kd="stats"),
}
