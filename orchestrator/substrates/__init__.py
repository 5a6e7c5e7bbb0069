"""Substrates: where nodes live. The table below is the list; heavy modules are loaded when one is built."""

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from orchestrator.command import attempt
from orchestrator.errors import MachineCannotError, UsageError
from orchestrator.keys import RunKeys
from orchestrator.outcome import RunOptions
from orchestrator.plan import HostKind, Plan
from orchestrator.substrates.base import Substrate

LIMITS = frozenset({"memory", "pids", "descriptors"})  # what control groups and limits of processes can take away
ALL_FAULTS = frozenset({"kill", "restart", "terminate", "pause", "cpu", "shape", "block", "order", "disk"})


@dataclass(frozen=True)
class SubstrateKind:
    """A row of the table. `missing` says what this machine lacks for it, each with its remedy; empty: it works here."""

    name: str
    about: str
    real_time: bool
    can: frozenset[str]
    missing: Callable[[], list[str]]
    event_loop: Callable[[], asyncio.AbstractEventLoop]
    build: Callable[[Plan, Path, str, RunOptions], Substrate]
    refuses: Callable[[Plan, RunOptions], list[str]] = (
        lambda _plan, _options: []
    )  # why this run cannot be, with remedies
    warns: Callable[[Plan, RunOptions], list[str]] = (
        lambda _plan, _options: []
    )  # what whoever starts this run, or reads of it, must know
    why_not: Mapping[str, str] = field(default_factory=dict)  # of abilities that it lacks, with remedies
    why_no_programs: str = ""  # where `can` lacks "programs"
    own_kernel: bool = True  # with `--shaper netem` this machine's kernel makes the links, and not another's
    host: HostKind = "process"  # what nodes live in for which the scenario does not say it


def choose(plan: Plan, options: RunOptions) -> tuple[SubstrateKind, str]:
    """The substrate of a run, and one line that says why if it is not the one that `auto` prefers."""
    asked = options.substrate if options.substrate != "auto" else plan.substrate
    if asked == "auto" and plan.workload is not None:
        asked = "mininet"  # nothing else runs programs: what is missing for it is what to say
    if asked == "auto":
        missing = SUBSTRATES["mininet"].missing()
        if not missing:
            return SUBSTRATES["mininet"], ""
        return SUBSTRATES["simulation"], f"running in simulation, because {missing[0]}"
    if asked not in SUBSTRATES:
        raise UsageError(f"substrate {asked!r} is not there yet; known: auto, {', '.join(SUBSTRATES)}")
    if plan.workload is not None and "programs" not in SUBSTRATES[asked].can:
        raise MachineCannotError(no_programs(SUBSTRATES[asked]))  # before what is missing: nobody should install that
    missing = SUBSTRATES[asked].missing()
    if missing:
        raise MachineCannotError(f"{asked} cannot run here:\n" + "\n".join(f"- {line}" for line in missing))
    return SUBSTRATES[asked], ""


def no_programs(kind: SubstrateKind) -> str:
    """Why the programs of a workload cannot run there, and what to do."""
    return f"{kind.name} cannot run the programs of a workload: {kind.why_no_programs}; use --substrate mininet"


def shaper_of(plan: Plan, options: RunOptions) -> str:
    """The shaper of a run on real links: the one asked for, or the fabric, which works wherever Mininet does."""
    asked = options.shaper if options.shaper != "auto" else plan.shaper
    return "delay_line" if asked == "auto" else asked


def _mininet_missing() -> list[str]:
    missing = _hosts_missing()
    return missing if missing and os.geteuid() != 0 else [*missing, *_groups_missing()]


def _groups_missing() -> list[str]:
    from orchestrator.substrates import control_groups

    try:
        return control_groups.lacking(control_groups.find_mounts())
    except (MachineCannotError, OSError) as error:
        return [str(error)]


def _hosts_missing() -> list[str]:
    missing = []
    if os.name != "posix" or not Path("/proc/self/ns/net").exists():
        return ["this is not Linux: network namespaces are needed"]
    if os.geteuid() != 0:
        missing.append("network namespaces and control groups need root (run it as root or with sudo)")
    if not Path("/dev/net/tun").exists():
        missing.append("/dev/net/tun is missing (modprobe tun)")
    for command, package in (("mnexec", "mininet"), ("ifconfig", "net-tools"), ("ip", "iproute2")):
        if shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            missing.append(f"{command} is missing (apt-get install {package}, or make setup)")
    if find_spec("mininet") is None:
        missing.append("Mininet's Python package is missing (make setup)")
    if not missing:
        works, said = attempt(("mnexec", "-n", "true"))
        if not works:  # Mininet itself would wait for its first shell for ever
            missing.append(f"mnexec cannot make a network namespace here ({said}); in a chroot, mount its root first")
    return missing


def _mininet_refuses(plan: Plan, options: RunOptions) -> list[str]:
    """A scenario may ask for containers where nodes are processes by themselves."""
    groups = sorted({node.group for node in plan.nodes if node.host == "container"})
    lacks = _engine_missing() if groups else []
    return [f"containers ({', '.join(groups)}) cannot be made: {lack}" for lack in lacks] + _uncounted(plan, options)


def _uncounted(plan: Plan, _options: RunOptions) -> list[str]:
    """Processes are bounded by the kernel's pids controller alone: root, which nodes are, is free of RLIMIT_NPROC."""
    from orchestrator.substrates.control_groups import find_mounts

    if not any(fault.kind == "pids" for fault in plan.faults) or find_mounts().counts_pids:
        return []
    return ["a fault of kind pids needs the kernel's pids controller, which is not mounted (mount -t cgroup -o pids)"]


def _docker_missing() -> list[str]:
    return [*_hosts_missing(), *_engine_missing()]


def _engine_missing() -> list[str]:
    from orchestrator.hosts import container
    from orchestrator.hosts.image import content

    address = container.engine_address()
    return container.missing_engine(address) or container.missing_image(address, content())


def _build_mininet(plan: Plan, directory: Path, run_id: str, options: RunOptions) -> Substrate:
    return _build_hosted(plan, directory, run_id, options, "process")


def _build_docker(plan: Plan, directory: Path, run_id: str, options: RunOptions) -> Substrate:
    return _build_hosted(plan, directory, run_id, options, "container")


def _build_hosted(plan: Plan, directory: Path, run_id: str, options: RunOptions, host: HostKind) -> Substrate:
    from orchestrator.substrates.calibration import CALIBRATION
    from orchestrator.substrates.mininet import MininetSubstrate

    return MininetSubstrate(plan, directory, RunKeys(run_id), shaper_of(plan, options), CALIBRATION, host)


def _build_simulation(plan: Plan, directory: Path, run_id: str, options: RunOptions) -> Substrate:
    from orchestrator.simulation.substrate import Simulation

    return Simulation(plan, directory)


def _build_ssh(plan: Plan, directory: Path, run_id: str, options: RunOptions) -> Substrate:
    from orchestrator.boards.inventory import load_inventory
    from orchestrator.substrates.ssh import SshSubstrate

    inventory, shaper = load_inventory(_boards_of(options)), shaper_of(plan, options)
    insecure = options.insecure or inventory.insecure
    return SshSubstrate(plan, directory, RunKeys(run_id), inventory, shaper, insecure=insecure)


def _ssh_refuses(plan: Plan, options: RunOptions) -> list[str]:
    from orchestrator.boards.inventory import load_inventory
    from orchestrator.boards.placement import place
    from orchestrator.boards.station import refusals

    inventory = load_inventory(_boards_of(options))
    boards = {board.name: board for board in place(plan, inventory.boards).values()}
    return asyncio.run(refusals(inventory, tuple(boards.values()), shaper_of(plan, options)))


def _ssh_warns(plan: Plan, options: RunOptions) -> list[str]:
    from orchestrator.boards.inventory import load_inventory
    from orchestrator.boards.placement import pairs_in_the_open, place

    inventory = load_inventory(_boards_of(options))
    if not (options.insecure or inventory.insecure) or not pairs_in_the_open(plan, place(plan, inventory.boards)):
        return []
    asked = "--insecure" if options.insecure else f"`messages: insecure` in {inventory.path.name}"
    return [
        f"insecure: what nodes send each other is not encrypted ({asked}); whoever can read the network of the boards"
        " can read models and updates"
    ]


def _boards_of(options: RunOptions) -> Path:
    if options.boards is None:
        raise UsageError("which boards? --boards boards.yaml (scenarios/boards/example.yaml shows what it holds)")
    return options.boards


def _ssh_missing() -> list[str]:
    return [] if find_spec("paramiko") is not None else ["Paramiko, the SSH library, is missing (make setup)"]


def _virtual_loop() -> asyncio.AbstractEventLoop:
    from orchestrator.simulation.virtual_time import VirtualTimeLoop

    return VirtualTimeLoop()


SUBSTRATES: dict[str, SubstrateKind] = {
    "docker": SubstrateKind(
        "docker",
        "as mininet, every node in a container (make image)",
        real_time=True,
        can=ALL_FAULTS | LIMITS | {"ask", "resume", "scrape", "slow_down", "traffic"},
        missing=_docker_missing,
        event_loop=asyncio.new_event_loop,
        build=_build_docker,
        why_not={
            "supersede": "a container has its network to itself, and a second one beside it would be on no link; use "
            "--substrate mininet with host: container for the devices, and the coordinator stays a process"
        },
        refuses=_uncounted,
        why_no_programs="its image holds Edgebed's nodes and nothing of yours (as processes they get the same network"
        " namespaces, links, limits and faults)",
        host="container",
    ),
    "mininet": SubstrateKind(
        "mininet",
        "real processes and real packets in network namespaces on this machine",
        real_time=True,
        can=ALL_FAULTS | LIMITS | {"supersede", "ask", "programs", "resume", "scrape", "slow_down", "traffic"},
        missing=_mininet_missing,
        event_loop=asyncio.new_event_loop,
        build=_build_mininet,
        refuses=_mininet_refuses,
    ),
    "simulation": SubstrateKind(
        "simulation",
        "the same algorithm code in virtual time, without root",
        real_time=False,
        can=ALL_FAULTS | {"supersede", "traffic"},
        missing=list,
        event_loop=_virtual_loop,
        why_no_programs="time is virtual there, and a program that Edgebed does not know has only the real clock",
        build=_build_simulation,
        why_not=dict.fromkeys(
            LIMITS, "all nodes are parts of one process there, and what it has is not theirs; use --substrate mininet"
        )
        | {"scrape": "nobody could read live metrics in virtual time; use --substrate mininet"},
    ),
    "ssh": SubstrateKind(
        "ssh",
        "real processes on physical boards, each reached over SSH (--boards FILE)",
        real_time=True,
        can=ALL_FAULTS | {"descriptors", "ask", "scrape"},
        missing=_ssh_missing,
        event_loop=asyncio.new_event_loop,
        build=_build_ssh,
        why_not={
            **dict.fromkeys(
                ("memory", "pids"),
                "a node on a board has no control group of its own; use --substrate mininet or docker",
            ),
            "resume": "a board removes what its nodes had saved as soon as the orchestrator is gone",
        },
        refuses=_ssh_refuses,
        why_no_programs="they are started as processes of this machine, and what is installed on a board is unknown",
        warns=_ssh_warns,
        own_kernel=False,
    ),
}
