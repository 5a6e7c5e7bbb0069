"""Plans built by hand, for tests that need one and no scenario."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from node_image.spec import Chosen, ComputeSpeed, NodeSpec, Peer, TaskSpec
from orchestrator.devices import DeviceProfile, Power, Sourced
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink, Expectation, Plan, PlannedFault, PlannedNode

SOURCE = Sourced("made up for a test", "assumed")
SPEED = ComputeSpeed(macs_per_s=1e9, op_overhead_s=20e-6)
BOARD = DeviceProfile("board", "", 4, 1 << 30, SPEED, SOURCE, Power(2.0, 4.0, SOURCE), None)
SERVER = DeviceProfile("server", "", 8, 1 << 34, SPEED, SOURCE, None, None, slowed=False)
COORDINATOR = "coordinator"


class Options(TypedDict, total=False):
    """What a test may choose of a plan."""

    shape: LinkShape
    algorithm: Chosen
    task: TaskSpec
    model: Chosen
    rule: Chosen
    profile: DeviceProfile
    seed: int
    stop_after_s: float
    faults: tuple[PlannedFault, ...]
    expectations: tuple[Expectation, ...]


def star(devices: int = 2, **options: Unpack[Options]) -> Plan:
    """A coordinator and devices `d-1`, `d-2`, ... each on a link of its own."""
    names = [COORDINATOR, *_devices(devices)]
    return _plan(names, [(name, COORDINATOR) for name in names[1:]], [()] * len(names), options)


def mesh(devices: int = 3, *, at_m: Sequence[tuple[float, float]] = (), **options: Unpack[Options]) -> Plan:
    """Devices alone, each linked to all others; they stand at these places (x, y), if any are given."""
    names = _devices(devices)
    pairs = [(a, b) for number, a in enumerate(names) for b in names[number + 1 :]]
    return _plan(names, pairs, [((0.0, x, y),) for x, y in at_m] or [()] * devices, options)


def ring(devices: int = 4, **options: Unpack[Options]) -> Plan:
    """Devices alone, each linked to the next, and the last to the first."""
    names = _devices(devices)
    return _plan(names, list(zip(names, [*names[1:], names[0]], strict=True)), [()] * devices, options)


def _devices(count: int) -> list[str]:
    return [f"d-{number}" for number in range(1, count + 1)]


def _plan(
    names: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    tracks: Sequence[tuple[tuple[float, float, float], ...]],
    options: Options,
) -> Plan:
    """Nodes by these names, linked in these pairs both ways; who is linked may speak to each other."""
    is_led = names[0] == COORDINATOR
    profile, seed = options.get("profile", BOARD), options.get("seed", 1)
    shape = options.get("shape", LinkShape(rate_bps=20e6, delay_s=0.005, queue_bytes=250_000))
    stop_after_s = options.get("stop_after_s", 10.0)
    peers = {name: Peer(name, f"10.77.0.{number + 1}") for number, name in enumerate(names)}
    nodes = []
    for number, name in enumerate(names):
        index = number - is_led
        group, board = ("devices", profile) if index >= 0 else (COORDINATOR, SERVER)
        known = {other for pair in pairs if name in pair for other in pair} - {name}
        spec = NodeSpec(
            name=name,
            role="device" if index >= 0 else "coordinator",
            index=index,
            devices=len(names) - is_led,
            address=peers[name].address,
            peers=tuple(peers[other] for other in names if other in known),
            coordinator=COORDINATOR if is_led else None,
            seed=seed * 1000 + number,
            data_seed=seed,
            stop_after_s=stop_after_s,
            task=options.get("task", TaskSpec("digits")),
            model=options.get("model", Chosen("mlp")),
            algorithm=options.get("algorithm", Chosen("fedavg", {"local_epochs": 1})),
            rule=options.get("rule", Chosen("backprop", {"learning_rate": 0.1, "batch_size": 32})),
            speed=board.speed,
            track=tracks[number],
        )
        nodes.append(PlannedNode(name, spec.role, group, spec.address, board, spec))
    both_ways = [way for a, b in pairs for way in ((a, b), (b, a))]
    links = tuple(DirectedLink(f"{a}>{b}", a, b, shape, seed * 100 + number) for number, (a, b) in enumerate(both_ways))
    faults, expectations = options.get("faults", ()), options.get("expectations", ())
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
