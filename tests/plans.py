"""Plans built by hand, for tests that need one and no scenario."""

from collections.abc import Mapping
from typing import Any

from node_image.spec import Chosen, ComputeSpeed, NodeSpec, Peer, TaskSpec
from orchestrator.devices import DeviceProfile, Power, Sourced
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink, Expectation, Plan, PlannedFault, PlannedNode

SOURCE = Sourced("made up for a test", "assumed")
SPEED = ComputeSpeed(macs_per_s=1e9, op_overhead_s=20e-6)
BOARD = DeviceProfile("board", "", 4, 1 << 30, SPEED, SOURCE, Power(2.0, 4.0, SOURCE), None)
SERVER = DeviceProfile("server", "", 8, 1 << 34, SPEED, SOURCE, None, None, slowed=False)


def star(
    devices: int = 2,
    *,
    shape: LinkShape | None = None,
    algorithm: Chosen | None = None,
    task: TaskSpec | None = None,
    model: Chosen | None = None,
    rule: Chosen | None = None,
    profile: DeviceProfile = BOARD,
    seed: int = 1,
    stop_after_s: float = 10.0,
    faults: tuple[PlannedFault, ...] = (),
    expectations: tuple[Expectation, ...] = (),
) -> Plan:
    """A coordinator and devices `d-1`, `d-2`, ... each on a link of its own."""
    shape = shape if shape is not None else LinkShape(rate_bps=20e6, delay_s=0.005, queue_bytes=250_000)
    names = ["coordinator", *(f"d-{number}" for number in range(1, devices + 1))]
    peers = {name: Peer(name, f"10.77.0.{number + 1}") for number, name in enumerate(names)}
    nodes = []
    for number, name in enumerate(names):
        role = "device" if number else "coordinator"
        knows = tuple(peers[other] for other in (names[:1] if number else names[1:]))
        spec = NodeSpec(
            name=name,
            role=role,  # type: ignore[arg-type]  # one of the two literals, which mypy widens to str
            index=number - 1,
            devices=devices,
            address=peers[name].address,
            peers=knows,
            coordinator="coordinator",
            seed=seed * 1000 + number,
            data_seed=seed,
            stop_after_s=stop_after_s,
            task=task or TaskSpec("digits"),
            model=model or Chosen("mlp"),
            algorithm=algorithm or Chosen("fedavg", {"local_epochs": 1}),
            rule=rule or Chosen("backprop", {"learning_rate": 0.1, "batch_size": 32}),
            speed=profile.speed,
        )
        nodes.append(
            PlannedNode(
                name=name,
                role=spec.role,
                group="devices" if number else "coordinator",
                address=spec.address,
                profile=profile if number else SERVER,
                spec=spec,
            )
        )
    links = tuple(
        DirectedLink(f"{a}>{b}", a, b, shape, seed * 100 + number)
        for number, (a, b) in enumerate(
            pair for name in names[1:] for pair in ((name, "coordinator"), ("coordinator", name))
        )
    )
    return Plan("test", "", seed, stop_after_s, "auto", "auto", tuple(nodes), (), links, faults, expectations)


def fault(
    kind: str,
    at_s: float,
    heal_s: float | None,
    *,
    nodes: tuple[str, ...] = (),
    links: tuple[str, ...] = (),
    index: int = 0,
    parameters: Mapping[str, Any] | None = None,
) -> PlannedFault:
    """A planned fault."""
    return PlannedFault(index, kind, at_s, heal_s, nodes, links, parameters or {})
