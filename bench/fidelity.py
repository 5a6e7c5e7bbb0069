"""How true links are: messages of many sizes over many shapes, against the closed form. `make fidelity`; needs root.

`python -m bench.fidelity FOLDER SHAPER...` measures each shaper here and writes FOLDER/SHAPER_WHERE.json, where WHERE
is `vm` in the machine of scripts/vm.sh and `here` elsewhere; `python -m analysis.fidelity` makes the page of them.
"""

import argparse
import asyncio
import json
import math
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean, quantiles

from bench.pairs import Pair, expected_s, pairs
from orchestrator.links.shape import BurstLoss, LinkShape

RATES_BPS = (0.1e6, 0.5e6, 2e6, 10e6, 100e6)
DELAYS_S = (0.0, 0.005, 0.02, 0.1)
SIZES_BYTES = (100, 1_000, 10_000, 100_000, 1_000_000)
TCP_BYTES = 10_000  # fits into TCP's first window: its time has a closed form
TOGETHER_BPS = 2e6  # links up to this rate are measured side by side, faster ones alone
CELL_S, MOST_TIMES = 2.0, 9  # a message is sent again for so long

JITTERS = ((0.005, 0.001), (0.02, 0.002), (0.05, 0.003))  # delay and its standard deviation
JITTER_PACKETS, JITTER_GAP_S = 1500, 0.02  # so far apart that keeping their order changes nothing
LOSSES = (0.01, 0.05, 0.2)
BURSTS = (BurstLoss(0.01, 0.25), BurstLoss(0.005, 0.1))
LOSS_PACKETS, LOSS_CHUNK, CHUNK_GAP_S = 20_000, 200, 0.05
TWO_SIDED_95 = 1.96
SPREAD_16_84 = 0.9945  # half of what lies between these percentiles of a normal distribution, in its deviations


@dataclass(frozen=True)
class Timed:
    """A message of a size over a link of a shape, several times; None in `found_s`: it never arrived whole."""

    transport: str  # datagrams, tcp
    rate_bps: float
    delay_s: float
    size_bytes: int
    expected_s: float
    found_s: tuple[float | None, ...]


@dataclass(frozen=True)
class Chanced:
    """A figure of chance: what was asked, what was found, and half the width of its 95 % sampling interval."""

    link: str
    figure: str
    unit: str
    asked: float
    found: float
    half_width: float


async def times(
    shaper: str,
    rates_bps: Sequence[float],
    delays_s: Sequence[float],
    sizes_bytes: Sequence[int],
    cell_s: float = CELL_S,
) -> list[Timed]:
    """Every size over every shape, each again and again for so long."""
    found = []
    for rate_bps in rates_bps:
        shapes = [LinkShape(rate_bps=rate_bps, delay_s=delay_s) for delay_s in delays_s]
        async with pairs(shaper, shapes) as made:
            sets = [made] if rate_bps <= TOGETHER_BPS else [[pair] for pair in made]
            for together in sets:
                found += _datagrams(together, sizes_bytes, cell_s)
            found += [_tcp(pair, cell_s) for pair in made]
        say(f"{shaper}: {rate_bps / 1e6:g} Mbit/s is done")
    return found


def _datagrams(together: list[Pair], sizes_bytes: Sequence[int], cell_s: float) -> list[Timed]:
    """All sizes in turn, again and again, so that a moment in which the machine was elsewhere is not one cell's."""
    cells = [(pair, size_bytes, expected_s(pair.shape, size_bytes)) for pair in together for size_bytes in sizes_bytes]
    longest = {
        size_bytes: max(ideal_s for _, size, ideal_s in cells if size == size_bytes) for size_bytes in sizes_bytes
    }
    found: dict[tuple[Pair, int], list[float | None]] = {(pair, size_bytes): [] for pair, size_bytes, _ in cells}
    for number in range(MOST_TIMES):
        for size_bytes in sizes_bytes:
            if number and (number + 1) * longest[size_bytes] > cell_s:
                continue
            waiting = [(pair, pair.send_message(size_bytes)) for pair in together]
            for pair, arrived in waiting:
                found[pair, size_bytes].append(arrived())
            time.sleep(0.01)  # the shaper is idle again
    return [
        _timed("datagrams", pair.shape, size_bytes, ideal_s, found[pair, size_bytes])
        for pair, size_bytes, ideal_s in cells
    ]


def _tcp(pair: Pair, cell_s: float) -> Timed:
    ideal_s = expected_s(pair.shape, TCP_BYTES, tcp=True)
    repeats = max(1, min(MOST_TIMES, int(cell_s / ideal_s)))
    return _timed("tcp", pair.shape, TCP_BYTES, ideal_s, [pair.tcp_message_s(TCP_BYTES) for _ in range(repeats)])


def _timed(transport: str, shape: LinkShape, size_bytes: int, ideal_s: float, seconds: Sequence[float | None]) -> Timed:
    return Timed(transport, shape.rate_bps or math.inf, shape.delay_s, size_bytes, ideal_s, tuple(seconds))


async def jitter(shaper: str, packets: int = JITTER_PACKETS) -> list[Chanced]:
    """The middle and the spread of delays that vary."""
    shapes = [LinkShape(delay_s=delay_s, jitter_s=jitter_s) for delay_s, jitter_s in JITTERS]
    found = []
    async with pairs(shaper, shapes) as made:
        due_s = time.monotonic()
        for number in range(packets):
            time.sleep(max(0.0, due_s - time.monotonic()))
            for pair in made:
                pair.send_stamped(number)
            due_s += JITTER_GAP_S
        for pair in made:
            delays_ms = [delay_s * 1e3 for _, delay_s in pair.stamped(1.0)]
            delay_ms, jitter_ms = pair.shape.delay_s * 1e3, pair.shape.jitter_s * 1e3
            link, root = f"delay {delay_ms:g} ms ± {jitter_ms:g} ms", math.sqrt(len(delays_ms))
            # Quantiles: a stall of this machine, once in a thousand packets, would be most of a standard deviation.
            low_ms, middle_ms, high_ms = (quantiles(delays_ms, n=100)[percent - 1] for percent in (16, 50, 84))
            error_ms = TWO_SIDED_95 * 1.253 * jitter_ms / root
            found.append(Chanced(link, "median delay", "ms", delay_ms, middle_ms, error_ms))
            spread_ms = (high_ms - low_ms) / 2 / SPREAD_16_84
            error_ms = TWO_SIDED_95 * 0.964 * jitter_ms / root
            found.append(
                Chanced(link, "spread, from the 16th to the 84th percentile", "ms", jitter_ms, spread_ms, error_ms)
            )
    say(f"{shaper}: jitter is done")
    return found


async def losses(shaper: str, packets: int = LOSS_PACKETS) -> list[Chanced]:
    """How many packets are lost; in bursts, also how many in a row."""
    shapes = [LinkShape(loss=loss) for loss in LOSSES] + [LinkShape(burst_loss=burst) for burst in BURSTS]
    found: list[Chanced] = []
    async with pairs(shaper, shapes) as made:
        for pair in made:
            for number in range(packets):
                if number % LOSS_CHUNK == 0:
                    time.sleep(CHUNK_GAP_S)  # the shaper fetches what is there
                pair.send_stamped(number)
            arrived = {number for number, _ in pair.stamped(1.0)}
            found += _lost(pair.shape, [number not in arrived for number in range(packets)])
    say(f"{shaper}: loss is done")
    return found


def _lost(shape: LinkShape, lost: list[bool]) -> Iterator[Chanced]:
    share, burst = sum(lost) / len(lost), shape.burst_loss
    if burst is None:
        error = TWO_SIDED_95 * math.sqrt(shape.loss * (1 - shape.loss) / len(lost))
        yield Chanced(f"loss {shape.loss * 100:g} %", "share lost", "%", shape.loss * 100, share * 100, error * 100)
        return
    asked = burst.to_bad / (burst.to_bad + burst.to_good)
    # Neighbours are alike: n packets of a chain with correlation c say as much as (1-c)/(1+c) n independent ones.
    alike = 1 - burst.to_bad - burst.to_good
    error = TWO_SIDED_95 * math.sqrt(asked * (1 - asked) / len(lost) * (1 + alike) / (1 - alike))
    link = f"bursts: begin {burst.to_bad * 100:g} %, end {burst.to_good * 100:g} %"
    yield Chanced(link, "share lost", "%", asked * 100, share * 100, error * 100)
    runs = [len(list(run)) for is_lost, run in groupby(lost) if is_lost] or [0]
    length = 1 / burst.to_good
    error = TWO_SIDED_95 * math.sqrt((1 - burst.to_good) / len(runs)) * length
    yield Chanced(link, "lost in a row, mean", "packets", length, mean(runs), error)


def where() -> tuple[str, str]:
    """`vm` or `here`, and the kernel in words."""
    in_vm = "User Mode Linux" in Path("/proc/cpuinfo").read_text()
    version = ".".join(platform.release().split(".")[:2])
    return ("vm", f"user-mode Linux {version}") if in_vm else ("here", f"Linux {version}")


def in_real_time() -> None:
    """Be scheduled like the fabric, or on a busy machine our own lateness would be taken for the links'."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


async def measure(shaper: str, folder: Path) -> None:
    """All of the grid through one shaper, and the file of it."""
    in_real_time()
    began = time.monotonic()
    place, kernel = where()
    timed = await times(shaper, RATES_BPS, DELAYS_S, SIZES_BYTES)
    chanced = [*await jitter(shaper), *await losses(shaper)]
    content = {
        "shaper": shaper,
        "where": place,
        "kernel": kernel,
        "took_s": round(time.monotonic() - began, 1),
        "times": [asdict(cell) for cell in timed],
        "chances": [asdict(cell) for cell in chanced],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{shaper}_{place}.json").write_text(json.dumps(content, indent=1) + "\n")


def say(line: str) -> None:
    """A line of progress."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure links against the closed form.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("shapers", nargs="+", choices=("delay_line", "netem"))
    arguments = parser.parse_args()
    for each in arguments.shapers:
        asyncio.run(measure(each, arguments.folder))
