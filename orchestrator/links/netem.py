"""netem: the kernel's shaper, for Mininet's own veth links. Commands are values here; the substrate runs them.

    sender's device:  root qdisc 1: netem  [loss] -> [limit] -> rate, packet by packet -> delay and jitter

One netem does everything, not HTB or TBF with netem below: a token bucket lets small messages through without their
serialisation time (10 kB on 0.1 Mbit/s in 1 % to 86 % of it), and paces behind the delay, so that what queues has been
propagated already. netem's own rate is exact per packet, and with a rate it keeps the order. The price: no active
queue management, and one limit, in packets, for what queues and what is under way. It is sized for both.

Where netem differs from `Link`: it cannot be seeded (not by iproute2 6.1); its limit counts packets whatever their
size; a reordered packet overtakes the queue too; jitter may be shortened behind a queue. It plays no traces.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

from orchestrator.command import attempt
from orchestrator.errors import MachineCannotError
from orchestrator.links.shape import BurstLoss, LinkShape

MTU = 1500
ETHERNET_BYTES = 14  # counted by the kernel on a veth, not by a LinkShape
UNBOUNDED_PACKETS = 1_000_000
ORDERING_BPS = 10_000_000_000  # without any rate netem's jitter reorders: this one costs a packet 1.2 microseconds
TICK_S = 1.5e-6  # tc tells times in microseconds, rounded down from ticks of the kernel: 100 read back as 99
OFFLOADS = ("tso", "off", "gso", "off", "gro", "off")  # or 64 kB count as one packet for loss and limit


class ShapeNotPossibleError(MachineCannotError):
    """netem cannot do what the shape asks; the message names what, and what can."""


@dataclass(frozen=True)
class Settings:
    """A shape in netem's own terms, every number whole in the unit that tc is given; probabilities 0-1."""

    limit_packets: int
    delay_us: int
    jitter_us: int
    distribution: str
    loss: float
    burst_loss: BurstLoss | None  # replaces `loss`: netem has one loss model at a time
    duplicate: float
    corrupt: float
    reorder: float
    rate_bps: int  # 0: none


def settings(shape: LinkShape, *, up: bool = True) -> Settings:
    """Work out netem's settings. A link that is down loses everything. Raises ShapeNotPossibleError."""
    if shape.trace is not None:
        raise ShapeNotPossibleError(
            f"netem cannot play a trace ({shape.trace.path}); the delay_line shaper can: --shaper delay_line"
        )
    rate_bps = round(shape.rate_bps) if shape.rate_bps is not None else 0
    if shape.rate_bps is not None and rate_bps < 8:
        raise ShapeNotPossibleError(f"netem cannot send slower than 8 bit/s (asked {shape.rate_bps:g})")
    if not rate_bps and shape.jitter_s and not shape.reorder:
        rate_bps = ORDERING_BPS
    loss, burst_loss = shape.loss, shape.burst_loss
    if not up:
        loss, burst_loss = 1.0, None
    elif burst_loss is not None and loss:
        # Independent loss on top of bursts is a Gilbert-Elliott model again, with more loss in either state.
        good, bad = (1 - (1 - loss) * (1 - state) for state in (burst_loss.loss_good, burst_loss.loss_bad))
        loss, burst_loss = 0.0, BurstLoss(burst_loss.to_bad, burst_loss.to_good, good, bad)
    return Settings(
        limit_packets=limit_packets(shape),
        delay_us=round(shape.delay_s * 1e6),
        jitter_us=round(shape.jitter_s * 1e6),
        distribution=shape.jitter_kind,
        loss=loss,
        burst_loss=burst_loss,
        duplicate=shape.duplicate,
        corrupt=shape.corrupt,
        reorder=shape.reorder if shape.delay_s else 0.0,  # without a delay there is nothing to skip, and tc refuses
        rate_bps=rate_bps,
    )


def limit_packets(shape: LinkShape) -> int:
    """Packets that netem may hold: those under way (rate times delay) plus those that the queue holds."""
    if shape.rate_bps is None or shape.queue_bytes is None:
        return UNBOUNDED_PACKETS
    under_way = math.ceil(shape.rate_bps * (shape.delay_s + shape.jitter_s) / 8 / MTU)
    return max(2, under_way + math.ceil(shape.queue_bytes / MTU))


def arguments(shape: LinkShape, *, up: bool = True, header_bytes: int = ETHERNET_BYTES) -> list[str]:
    """A shape as the words behind `netem`; `header_bytes` of each packet are not the LinkShape's to count."""
    want = settings(shape, up=up)
    argv = ["limit", str(want.limit_packets), "delay", f"{want.delay_us}us"]
    if want.jitter_us:
        argv += [f"{want.jitter_us}us", "distribution", want.distribution]
    if want.burst_loss is not None:
        burst = want.burst_loss
        chances = (burst.to_bad, burst.to_good, burst.loss_bad, burst.loss_good)
        argv += ["loss", "gemodel", *(_percent(chance) for chance in chances)]
    else:
        argv += ["loss", "random", _percent(want.loss)]
    # Always all of these: what a change does not mention, netem keeps as it was.
    argv += ["duplicate", _percent(want.duplicate), "corrupt", _percent(want.corrupt)]
    return [*argv, "reorder", _percent(want.reorder), "rate", f"{want.rate_bps}bit", str(-header_bytes)]


def commands(shape: LinkShape, device: str, *, up: bool = True) -> tuple[tuple[str, ...], ...]:
    """What to run in the sender's namespace. Run again with another shape, they change it and lose no packet."""
    argv = ("tc", "qdisc", "replace", "dev", device, "root", "handle", "1:", "netem", *arguments(shape, up=up))
    # TCP glues segments together for every device since Linux 4.17, with `gso off` too: they part behind the qdisc.
    apart = ("ip", "link", "set", "dev", device, "gso_max_segs", "1")
    return ("ethtool", "-K", device, *OFFLOADS), apart, argv


def show(device: str) -> tuple[str, ...]:
    """What prints the text that `readback` reads."""
    return ("tc", "-j", "qdisc", "show", "dev", device, "root")


def readback(json_text: str, shape: LinkShape, *, up: bool = True) -> list[str]:
    """What differs between the shape and what `show` printed; empty when it is in force."""
    try:
        qdiscs: list[dict[str, Any]] = json.loads(json_text or "[]")
    except ValueError:
        return [f"qdisc: expected JSON of `tc -j qdisc show`, found {json_text[:80]!r}"]
    netem = next((qdisc for qdisc in qdiscs if qdisc.get("kind") == "netem"), None)
    if netem is None:
        kinds = ", ".join(str(qdisc.get("kind")) for qdisc in qdiscs) or "none"
        return [f"qdisc: asked netem, found {kinds}"]
    wanted, found = _numbers(settings(shape, up=up)), _found_numbers(netem.get("options", {}))
    return [
        f"{name}: asked {value:g}, found {found.get(name, 0.0):g}"
        for name, value in wanted.items()
        if not math.isclose(value, found.get(name, 0.0), rel_tol=1e-3, abs_tol=TICK_S if name.endswith("_s") else 1e-6)
    ]


def _numbers(want: Settings) -> dict[str, float]:
    burst = want.burst_loss or BurstLoss(0.0, 0.0, 0.0, 0.0)
    return {
        "limit_packets": want.limit_packets,
        "delay_s": want.delay_us / 1e6,
        "jitter_s": want.jitter_us / 1e6 if want.delay_us else 0.0,  # tc shows no jitter without a delay
        "loss": want.loss,
        "burst_loss.to_bad": burst.to_bad,
        "burst_loss.to_good": burst.to_good,
        "burst_loss.loss_bad": burst.loss_bad,
        "burst_loss.loss_good": burst.loss_good,
        "duplicate": want.duplicate,
        "corrupt": want.corrupt,
        "reorder": want.reorder,
        "rate_bps": want.rate_bps // 8 * 8,  # the kernel counts whole bytes a second
    }


def _found_numbers(options: dict[str, Any]) -> dict[str, float]:
    burst = options.get("loss-gemodel", {})
    return {
        "limit_packets": options.get("limit", 0),
        "delay_s": options.get("delay", {}).get("delay", 0.0),
        "jitter_s": options.get("delay", {}).get("jitter", 0.0),
        "loss": options.get("loss-random", {}).get("loss", 0.0),
        "burst_loss.to_bad": burst.get("p", 0.0),
        "burst_loss.to_good": burst.get("r", 0.0),
        "burst_loss.loss_bad": burst.get("1-h", 0.0),
        "burst_loss.loss_good": burst.get("1-k", 0.0),
        **{name: options.get(name, {}).get(name, 0.0) for name in ("duplicate", "corrupt", "reorder")},
        "rate_bps": options.get("rate", {}).get("rate", 0) * 8,
    }


def available() -> tuple[bool, str]:
    """Try netem in a network namespace of its own. The text says what the kernel said, and the remedy."""
    works, said = attempt(("unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"))
    if works:
        return True, "netem works"
    return False, (
        f"netem does not work here ({said}). It needs root and the kernel module sch_netem: `modprobe sch_netem`, from"
        " the package linux-modules-extra-$(uname -r) (Ubuntu) or kernel-modules-extra (Fedora, RHEL); WSL2, microVMs"
        " and many boards have none. The delay_line shaper needs no module, and `make vm` boots a kernel that has it."
    )


def _percent(probability: float) -> str:
    """A probability as tc reads it. A bare number would be a percentage too: 0.05 would mean 0.05 %."""
    return f"{probability * 100:.6f}".rstrip("0").rstrip(".") + "%"
