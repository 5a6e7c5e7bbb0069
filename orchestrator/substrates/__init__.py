"""Substrates: where nodes live. The table below is the list; heavy modules are loaded when one is built."""

import asyncio
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from orchestrator.command import attempt
from orchestrator.errors import MachineCannotError, UsageError
from orchestrator.outcome import RunOptions
from orchestrator.plan import Plan
from orchestrator.substrates.base import Substrate

ALL_FAULTS = frozenset({"kill", "restart", "pause", "cpu", "shape", "block"})


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


def choose(plan: Plan, options: RunOptions) -> tuple[SubstrateKind, str]:
    """The substrate of a run, and one line that says why if it is not the one that `auto` prefers."""
    asked = options.substrate if options.substrate != "auto" else plan.substrate
    if asked == "auto":
        missing = SUBSTRATES["mininet"].missing()
        if not missing:
            return SUBSTRATES["mininet"], ""
        return SUBSTRATES["simulation"], f"running in simulation, because {missing[0]}"
    if asked not in SUBSTRATES:
        raise UsageError(f"substrate {asked!r} is not there yet; known: auto, {', '.join(SUBSTRATES)}")
    missing = SUBSTRATES[asked].missing()
    if missing:
        raise MachineCannotError(f"{asked} cannot run here:\n" + "\n".join(f"- {line}" for line in missing))
    return SUBSTRATES[asked], ""


def shaper_of(plan: Plan, options: RunOptions) -> str:
    """The shaper of a run on real links: the one asked for, or the fabric, which works wherever Mininet does."""
    asked = options.shaper if options.shaper != "auto" else plan.shaper
    return "delay_line" if asked == "auto" else asked


def _mininet_missing() -> list[str]:
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


def _build_mininet(plan: Plan, directory: Path, run_id: str, options: RunOptions) -> Substrate:
    from orchestrator.substrates.calibration import CALIBRATION
    from orchestrator.substrates.mininet import MininetSubstrate

    return MininetSubstrate(plan, directory, run_id, secrets.token_hex(32), shaper_of(plan, options), CALIBRATION)


def _build_simulation(plan: Plan, directory: Path, run_id: str, options: RunOptions) -> Substrate:
    from orchestrator.simulation.substrate import Simulation

    return Simulation(plan, directory)


def _virtual_loop() -> asyncio.AbstractEventLoop:
    from orchestrator.simulation.virtual_time import VirtualTimeLoop

    return VirtualTimeLoop()


SUBSTRATES: dict[str, SubstrateKind] = {
    "mininet": SubstrateKind(
        "mininet",
        "real processes and real packets in network namespaces on this machine",
        real_time=True,
        can=ALL_FAULTS | {"ask"},
        missing=_mininet_missing,
        event_loop=asyncio.new_event_loop,
        build=_build_mininet,
    ),
    "simulation": SubstrateKind(
        "simulation",
        "the same algorithm code in virtual time, without root",
        real_time=False,
        can=ALL_FAULTS,
        missing=list,
        event_loop=_virtual_loop,
        build=_build_simulation,
    ),
}
