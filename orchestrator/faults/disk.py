"""disk: what nodes keep their checkpoints on is full, slow, or loses what was being written.

full   what is written is refused: real nodes by RLIMIT_FSIZE (EFBIG after the first byte of a file), simulated ones
       by ENOSPC. A node records `failed_saves` and goes on; if it dies, it comes back from an older checkpoint
slow   checkpoints are written at `rate` bytes a second at most: the node paces itself, and waits for its own disk
torn   the node dies as it writes: kill -9, and half of its newest checkpoint is left. After `for` it is started
       again, finds that the checkpoint is broken, says so, and goes on from the one before
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from orchestrator.faults import limits, nodes, orders
from orchestrator.faults.base import FaultKind, FaultParameters, Injected, World, needs_learning
from orchestrator.plan import PlannedFault
from orchestrator.units import Size

SMALLEST_FILE_BYTES = 1  # 0 would say: no more than there is
TOLD = ("saved", "saved_bytes", "took_s")  # of checkpoints, by a node


class Parameters(FaultParameters):
    """`mode`: full | slow | torn. `rate`: of a slow disk, in bytes a second (`100 kB`)."""

    mode: Literal["full", "slow", "torn"]
    rate: Annotated[Size, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _rated(self) -> Self:
        if (self.mode == "slow") != (self.rate is not None):
            raise ValueError("a slow disk has a rate (bytes a second, such as 100 kB), and no other has")
        return self


async def inject(fault: PlannedFault, world: World) -> Injected:
    """Evidence: what the kernel or the node confirms; at the heal, what became of the checkpoints meanwhile."""
    return await _MODES[fault.parameters["mode"]](fault, world)


async def _full(fault: PlannedFault, world: World) -> Injected:
    seen = [await limits.tighten(world, fault.index, name, "disk", SMALLEST_FILE_BYTES) for name in fault.nodes]
    before = {name: world.watch.total("failed_saves", node=name) for name in fault.nodes}
    told = {name: await orders.once(world, name, {"do": "disk"}) for name in fault.nodes}

    async def heal() -> str:
        words = []
        for name in fault.nodes:
            now = await orders.once(world, name, {"do": "disk"})
            recorded = world.watch.total("failed_saves", node=name) - before[name]
            failed = max(recorded, _grown(told[name].answer, now.answer, "failed"))
            error = now.answer.get("last_error")
            _tell(world, fault, name, told[name].answer, now.answer)
            words.append(f"{name}: {failed:g} checkpoints could not be written" + (f" ({error})" if error else ""))
        return "; ".join([*words, await limits.loosen(world, fault.index, fault.nodes, "disk")])

    return Injected("; ".join(seen), heal)


async def _slow(fault: PlannedFault, world: World) -> Injected:
    order = {"do": "disk", "bytes_per_s": fault.parameters["rate"]}
    told = {name: await orders.stand(world, fault.index, name, order) for name in fault.nodes}

    async def heal() -> str:
        words = []
        for name in fault.nodes:
            now = await orders.withdraw(world, fault.index, name, {"do": "disk", "bytes_per_s": None})
            saved, size, took_s = (_grown(told[name].answer, now.answer, key) for key in TOLD)
            _tell(world, fault, name, told[name].answer, now.answer)
            words.append(f"{name}: {saved:g} checkpoints, {size:g} bytes, were written in {took_s:.3f} s")
        return "; ".join(words)

    words = [
        f"{name}: confirms {heard.answer['bytes_per_s']:g} bytes a second" if heard.answer else heard.words
        for name, heard in told.items()
    ]
    return Injected("; ".join(words), heal)


async def _torn(fault: PlannedFault, world: World) -> Injected:
    seen = [await nodes.crash(world, fault.index, fault.nodes)]
    seen += [await world.substrate.tear(world.node(name)) for name in fault.nodes]
    return Injected("; ".join(seen), lambda: nodes.restart(world, fault.index, fault.nodes))


def _tell(world: World, fault: PlannedFault, name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Log what became of a node's checkpoints while the fault lasted, if it could be asked both times."""
    if before and now:
        grown = {key: _grown(before, now, key) for key in TOLD}
        world.log("disk_told", {"fault": fault.index, "node": name, "bytes_per_s": now["bytes_per_s"], **grown})


async def _again(fault: PlannedFault, world: World) -> Injected:
    """What was torn is torn already, and who died of it is dead."""
    if fault.parameters["mode"] != "torn":
        return await inject(fault, world)
    seen = await nodes.crash(world, fault.index, fault.nodes)
    return Injected(seen, lambda: nodes.restart(world, fault.index, fault.nodes))


def _grown(before: Mapping[str, Any], now: Mapping[str, Any], key: str) -> float:
    """By how much a tally has grown; one that is smaller is that of another life."""
    grown = float(now.get(key, 0.0)) - float(before.get(key, 0.0))
    return grown if grown >= 0 else float(now.get(key, 0.0))


_MODES = {"full": _full, "slow": _slow, "torn": _torn}
NEEDS = {
    "full": frozenset({"disk", "order", "restart"}),
    "slow": frozenset({"order"}),
    "torn": frozenset({"disk", "kill", "restart"}),
}

KIND = FaultKind(
    about="the disk that nodes keep their checkpoints on is full, slow, or loses what was being written",
    targets="nodes",
    Parameters=Parameters,
    needs=lambda parameters: NEEDS[parameters["mode"]],
    inject=inject,
    again=_again,
    refuses=needs_learning,
)
